//! Every series that the worker exports.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

shared::metrics! {
    /// The worker's series. Labels are event types of the routing table, outcomes and reasons;
    /// never a user, an id or a producer's text.
    pub struct Metrics {
        /// Records read from Kafka.
        consumed: IntCounter = "ingest_worker_consumed_records_total",
        /// Finished records by event type and outcome (published, duplicate, ignored, dead_lettered).
        outcomes: IntCounterVec = "ingest_worker_outcomes_total" ["event_type", "outcome"],
        /// Ignored records by reason (no_route, by_rule, too_old).
        ignored: IntCounterVec = "ingest_worker_ignored_total" ["reason"],
        /// Records written to the dead-letter topic by reason (not_json, no_envelope, malformed, recipient_unknown).
        dead_letters: IntCounterVec = "ingest_worker_dead_letters_total" ["reason"],
        /// Failed attempts that are made again, by the system that failed (redis, kafka).
        retries: IntCounterVec = "ingest_worker_retries_total" ["system"],
        /// Records whose owner is not known yet.
        waiting: IntGauge = "ingest_worker_waiting_records",
        /// Whether reading is paused because an earlier batch cannot be finished (0 or 1).
        paused: IntGauge = "ingest_worker_paused",
        /// Partitions assigned to this worker.
        assigned_partitions: IntGauge = "ingest_worker_assigned_partitions",
        /// Times that partitions were assigned or taken away.
        rebalances: IntCounter = "ingest_worker_rebalances_total",
        /// Errors that the Kafka client reported.
        kafka_errors: IntCounter = "ingest_worker_kafka_errors_total",
        /// Seconds from the time a record was written to Kafka until it was published.
        latency: Histogram = "ingest_worker_latency_seconds"
            {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0},
        /// Seconds to deliver a batch (owners looked up, all notifications published).
        delivery: Histogram = "ingest_worker_delivery_seconds"
            {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0},
        /// Batches delivered.
        batches: IntCounter = "ingest_worker_batches_total",
    }
}
