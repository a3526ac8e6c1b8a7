//! Offset resets: the client could not fetch at its position and applies `auto.offset.reset`. It
//! says so only in its log. Tests fail if a new version words that differently.

use tracing::warn;

use crate::metrics::Metrics;

/// A partition whose position was out of range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OffsetReset<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    /// The position that was left.
    pub(super) from: i64,
}

impl<'a> OffsetReset<'a> {
    /// Parses a log message such as `[thrd:main]: topic [3]: offset reset (at offset 17 (leader
    /// epoch 2), broker 1) to offset BEGINNING ...`.
    pub(super) fn in_log(facility: &str, message: &'a str) -> Option<Self> {
        if facility != "OFFSET" {
            return None;
        }
        let (partition, rest) = message.split_once("]: offset reset (at offset ")?;
        let (topic, partition) = partition.rsplit_once(" [")?;
        let topic = topic.rsplit(' ').next()?;
        let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
        Some(Self { topic, partition: partition.parse().ok()?, from: digits.parse().ok()? })
    }

    /// Counts and logs that the position is left.
    pub(super) fn report(&self, message: &str, metrics: &Metrics) {
        metrics.offset_resets.inc();
        warn!(
            kafka.topic = self.topic,
            kafka.partition = self.partition,
            kafka.offset = self.from,
            message,
            "position out of range, applying KAFKA_AUTO_OFFSET_RESET"
        );
    }

    /// Counts and logs what the reset means, once the next record is read at offset `to`.
    pub(super) fn report_resumed(&self, to: i64, metrics: &Metrics) {
        let Self { topic, partition, from } = *self;
        if to > from {
            metrics.deleted_offsets.inc_by((to - from).unsigned_abs());
            warn!(
                kafka.topic = topic,
                kafka.partition = partition,
                from,
                to,
                "unread records were deleted, consuming after them"
            );
        } else {
            warn!(
                kafka.topic = topic,
                kafka.partition = partition,
                from,
                to,
                "partition rewound, skipping records older than IDEMPOTENCY_TTL below its former position"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        time::{Duration, Instant},
    };

    use rdkafka::{
        ClientConfig, ClientContext, Offset, TopicPartitionList,
        config::RDKafkaLogLevel,
        consumer::{BaseConsumer, Consumer as _, ConsumerContext},
        mocking::MockCluster,
        producer::{BaseProducer, BaseRecord, Producer as _},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[derive(Default)]
    struct Resets(Mutex<Vec<(String, i32, i64)>>);

    impl ClientContext for Resets {
        fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
            if let Some(reset) = OffsetReset::in_log(facility, message) {
                let reset = (reset.topic.to_owned(), reset.partition, reset.from);
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reset);
            }
        }
    }

    impl ConsumerContext for Resets {}

    #[test]
    fn the_client_logs_a_position_out_of_range_in_the_expected_words() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("a.topic-1", 2, 1).expect("a topic");
        let servers = cluster.bootstrap_servers();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &servers);
        let producer: BaseProducer = config.create().expect("a producer");
        let record = BaseRecord::<str, str>::to("a.topic-1").partition(1).payload("p");
        producer.send(record).expect("the queue has room");
        producer.flush(LIMIT).expect("the record is acknowledged");

        config.set("group.id", "g").set("auto.offset.reset", "earliest");
        config.set_log_level(RDKafkaLogLevel::Warning);
        let consumer: BaseConsumer<Resets> =
            config.create_with_context(Resets::default()).expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("a.topic-1", 1, Offset::Offset(1_000)).expect("an offset");
        consumer.assign(&list).expect("the partition is assigned");
        let begin = Instant::now();
        let read = loop {
            if let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) {
                break rdkafka::Message::offset(&record);
            }
            assert!(begin.elapsed() < LIMIT, "the record is not read");
        };
        assert_eq!(read, 0);
        let resets = consumer.context().0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(resets, [("a.topic-1".to_owned(), 1, 1_000)]);
    }

    #[test]
    fn other_messages_are_no_resets() {
        let message = "[thrd:main]: t [0]: offset reset (at offset 7, broker 1) to END: x";
        let reset = OffsetReset { topic: "t", partition: 0, from: 7 };
        assert_eq!(OffsetReset::in_log("OFFSET", message), Some(reset));
        assert_eq!(OffsetReset::in_log("FETCH", message), None);
        assert_eq!(OffsetReset::in_log("OFFSET", "t [0]: offset commit failed"), None);
    }
}
