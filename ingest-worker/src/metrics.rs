//! The worker's metrics. Labels are enums or event types of the routing table, never a user, an id
//! or a producer's text.
//!
//! Invariant: `consumed` always equals the sum of `outcomes`, `in_flight` and `revoked`.

use prometheus::{Histogram, IntCounter, IntGauge};
use shared::metrics::{LATENCY_BUCKETS, Labeled, PartitionGauge, ROUND_TRIP_BUCKETS, TopicGauge};

use crate::{
    domain::{
        record::{DeadLetterReason, IgnoreReason, OutcomeKind, ParkReason},
        routes::RoutedType,
    },
    notification::publisher::System,
};

shared::label! {
    /// A call to Redis.
    pub(crate) enum RedisCall as "call" {
        /// Publish notifications.
        Publish = "publish",
        /// Store and look up owners.
        Owners = "owners",
        /// Read how far each partition is published.
        Watermarks = "watermarks",
    }
}

shared::label! {
    /// A kind of error of Redis.
    pub(crate) enum RedisErrorKind as "kind" {
        /// No connection, or no reply within the time-out.
        Unreachable = "unreachable",
        /// It is loading its data set.
        Loading = "loading",
        /// It is a replica, lacks replicas, or cannot persist.
        ReadOnly = "read_only",
        /// `maxmemory` is reached.
        OutOfMemory = "out_of_memory",
        /// It refused the credentials or a command.
        Refused = "refused",
        /// Any other error.
        Other = "other",
    }
}

shared::label! {
    /// Why a partition is read again.
    pub(crate) enum RewindReason as "reason" {
        /// Its watermark in Redis is below what was finished: a failover or an older snapshot.
        Behind = "behind",
        /// Its watermark is missing: Redis was flushed, or is empty.
        Missing = "missing",
    }
}

shared::label! {
    /// A Redis key with the name of the worker's, but of a type that the worker does not write.
    pub(crate) enum WrongTypeKey as "key" {
        /// The claim of an event; replaced.
        Claim = "claim",
        /// The stream of a user's history; replaced.
        History = "history",
        /// The newest position of a user; replaced.
        Position = "position",
        /// The owner of a batch or class; ignored until the next event that states it.
        Owner = "owner",
        /// The watermarks of a master; replaced.
        Watermark = "watermark",
    }
}

shared::metrics! {
    /// The metrics of the worker. Cheap to clone.
    pub struct Metrics {
        /// Records read from Kafka.
        pub(crate) consumed: IntCounter = "ingest_worker_consumed_records_total", ();
        /// Finished records by event type and outcome: published, restored (published before, lost
        /// by Redis and stored again), duplicate, ignored, dead_lettered.
        pub(crate) outcomes: Labeled<(RoutedType, OutcomeKind), IntCounter> = "ingest_worker_outcomes_total", ();
        /// Partitions that are read again because Redis has lost data, by reason: behind (a failover
        /// or an older snapshot), missing (flushed or empty).
        pub(crate) rewinds: Labeled<RewindReason, IntCounter> = "ingest_worker_rewinds_total", ();
        /// Records that were finished before and are read again because Redis has lost data.
        pub(crate) rewound: IntCounter = "ingest_worker_rewound_records_total", ();
        /// Records that were read and have no outcome yet: queued, being delivered, or parked.
        pub(crate) in_flight: IntGauge = "ingest_worker_in_flight_records", ();
        /// Records that were read and dropped without an outcome because their partition was
        /// revoked; the partition's next owner reads them again.
        pub(crate) revoked: IntCounter = "ingest_worker_revoked_records_total", ();
        /// Ignored records by reason: no_route, by_rule, other_source, too_old,
        /// rewound (only read again to restore what Redis has lost).
        pub(crate) ignored: Labeled<IgnoreReason, IntCounter> = "ingest_worker_ignored_total", ();
        /// Records written to the dead-letter topic by reason: not_json, no_envelope, malformed,
        /// recipient_unknown, internal; skipped: by `offsets skip`.
        pub(crate) dead_letters: Labeled<DeadLetterReason, IntCounter> = "ingest_worker_dead_letters_total", ();
        /// Failed attempts that are retried, by the system that failed: redis, kafka.
        pub(crate) retries: Labeled<System, IntCounter> = "ingest_worker_retries_total", ();
        /// Records that cannot be finished now and are retried with back-off, by reason:
        /// owner_unknown, redis_refused, order (behind another one), dead_letter_refused.
        pub(crate) parked: Labeled<ParkReason, IntGauge> = "ingest_worker_parked_records", ();
        /// 1 while a batch takes longer than a second, mostly because Redis is unavailable, else 0.
        pub(crate) batch_stuck: IntGauge = "ingest_worker_batch_stuck", ();
        /// Partitions assigned to this worker.
        pub(crate) assigned_partitions: IntGauge = "ingest_worker_assigned_partitions", ();
        /// Rebalances: partitions were assigned or revoked.
        pub(crate) rebalances: IntCounter = "ingest_worker_rebalances_total", ();
        /// Errors reported by the Kafka client.
        pub(crate) kafka_errors: IntCounter = "ingest_worker_kafka_errors_total", ();
        /// Commits of offsets that failed; the next commit covers them.
        pub(crate) commit_failures: IntCounter = "ingest_worker_commit_failures_total", ();
        /// Positions that were out of range, so that `KAFKA_AUTO_OFFSET_RESET` was applied.
        pub(crate) offset_resets: IntCounter = "ingest_worker_offset_resets_total", ();
        /// Offsets that were deleted at the brokers before they were read.
        pub(crate) deleted_offsets: IntCounter = "ingest_worker_deleted_offsets_total", ();
        /// Offset of the batch of records at which a partition is blocked, because the Kafka client
        /// cannot read the batch; only partitions that are blocked have a series.
        pub(crate) unreadable: PartitionGauge = "ingest_worker_unreadable_offset", ();
        /// Records of a topic in this worker's partitions that are not committed yet; the sum over
        /// all workers is the consumer lag of the group.
        pub(crate) lag: TopicGauge = "ingest_worker_consumer_lag_records", ();
        /// Seconds from the time a record was written to Kafka until it was read.
        pub(crate) kafka_wait: Histogram = "ingest_worker_kafka_wait_seconds", LATENCY_BUCKETS;
        /// Seconds from reading a record until it was published, including waits for its owner and
        /// for Redis.
        pub(crate) processing: Histogram = "ingest_worker_processing_seconds", LATENCY_BUCKETS;
        /// Seconds from the time a record was written to Kafka until it was published.
        pub(crate) latency: Histogram = "ingest_worker_latency_seconds", LATENCY_BUCKETS;
        /// Seconds to resolve the recipients of a batch and publish its notifications.
        pub(crate) delivery: Histogram = "ingest_worker_delivery_seconds", ROUND_TRIP_BUCKETS;
        /// Batches processed.
        pub(crate) batches: IntCounter = "ingest_worker_batches_total", ();
        /// Seconds of a round trip to Redis, by call: publish, owners, watermarks.
        pub(crate) redis_round_trips: Labeled<RedisCall, Histogram> =
            "ingest_worker_redis_round_trip_seconds", ROUND_TRIP_BUCKETS;
        /// Errors of Redis by kind: unreachable, loading, read_only, out_of_memory, refused
        /// (credentials or a command), other.
        pub(crate) redis_errors: Labeled<RedisErrorKind, IntCounter> =
            "ingest_worker_redis_errors_total", ();
        /// Redis keys of a type that the worker does not write, replaced or ignored, by kind:
        /// claim, history, position, owner, watermark.
        pub(crate) wrong_type_keys: Labeled<WrongTypeKey, IntCounter> =
            "ingest_worker_wrong_type_keys_total", ();
    }
}
