//! Every series that the worker exports. Labels are event types of the routing table, outcomes
//! and reasons; never a user, an id or a producer's text.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// From a fast machine at rest to a restart after an outage.
const LATE: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];
/// From one script to a time-out.
const ROUND_TRIP: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

shared::metrics! {
    /// The metrics of the worker. Cheap to clone.
    pub struct Metrics {
        /// Records read from Kafka.
        pub consumed: IntCounter = "ingest_worker_consumed_records_total", ();
        /// Finished records by event type and outcome: published, duplicate, ignored,
        /// dead_lettered.
        pub outcomes: IntCounterVec = "ingest_worker_outcomes_total", &["event_type", "outcome"];
        /// Ignored records by reason: no_route, by_rule, too_old.
        pub ignored: IntCounterVec = "ingest_worker_ignored_total", &["reason"];
        /// Records written to the dead-letter topic by reason: not_json, no_envelope, malformed,
        /// recipient_unknown.
        pub dead_letters: IntCounterVec = "ingest_worker_dead_letters_total", &["reason"];
        /// Failed attempts that are made again, by the system that failed: redis, kafka.
        pub retries: IntCounterVec = "ingest_worker_retries_total", &["system"];
        /// Records whose owner is not known yet.
        pub waiting: IntGauge = "ingest_worker_waiting_records", ();
        /// Whether a batch cannot be finished and is tried again and again: 0 or 1.
        pub paused: IntGauge = "ingest_worker_paused", ();
        /// Partitions assigned to this worker.
        pub assigned_partitions: IntGauge = "ingest_worker_assigned_partitions", ();
        /// Times that partitions were assigned or taken away.
        pub rebalances: IntCounter = "ingest_worker_rebalances_total", ();
        /// Errors that the Kafka client reported.
        pub kafka_errors: IntCounter = "ingest_worker_kafka_errors_total", ();
        /// Seconds from the time a record was written to Kafka until it was published.
        pub latency: Histogram = "ingest_worker_latency_seconds", LATE;
        /// Seconds to deliver a batch: owners looked up, all notifications published.
        pub delivery: Histogram = "ingest_worker_delivery_seconds", ROUND_TRIP;
        /// Batches delivered.
        pub batches: IntCounter = "ingest_worker_batches_total", ();
    }
}
