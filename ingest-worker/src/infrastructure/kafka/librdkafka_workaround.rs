//! Two defects of librdkafka 2.12 that the worker is linked without (`librdkafka_workaround/replaced.c`, `build.rs`).
//! Both show when a broker comes back, and both are known and open at its authors':
//!
//! - An answer to a fetch may name new leaders of partitions. Where one has none yet, the client
//!   takes over what happens to be in memory: it crashes, or never reads the partition again
//!   (<https://github.com/confluentinc/librdkafka/issues/5280>,
//!   <https://github.com/confluentinc/librdkafka/issues/5430>). Here it takes over nothing from such
//!   answers; it asks who leads, as it did before version 2.5.
//! - A cluster that has just lost all its brokers names none, and the client drops those it knew.
//!   It then starts again from `bootstrap.servers`, unless what ends the processing of that very
//!   answer stops the timer of this start: it is left without brokers for good
//!   (<https://github.com/confluentinc/librdkafka/issues/5301>). Here nothing stops that timer. It
//!   has a second use, to start again when no broker has said for some time who leads, which
//!   [`set_rebootstrap`] puts off, as the same happens once a connection is given up.
//!
//! The tests below fail where librdkafka does the one or the other after all.

use rdkafka::ClientConfig;

/// Puts off what would now happen so long after any question about the cluster: the longest time
/// there is, 25 days. Then it costs a connection.
pub(crate) fn set_rebootstrap(client: &mut ClientConfig) {
    client.set("metadata.recovery.rebootstrap.trigger.ms", i32::MAX.to_string());
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        time::{Duration, Instant},
    };

    use rdkafka::{
        ClientContext, Offset, TopicPartitionList,
        config::RDKafkaLogLevel,
        consumer::{BaseConsumer, Consumer as _, ConsumerContext},
        mocking::MockCluster,
        producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// What the client does, by the names it has for it.
    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Log {
        fn has(&self, facility: &str) -> bool {
            let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            log.iter().any(|entry| entry == facility)
        }
    }

    impl ClientContext for Log {
        fn log(&self, _: RDKafkaLogLevel, facility: &str, _: &str) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(facility.to_owned());
        }
    }

    impl ConsumerContext for Log {}

    fn cluster() -> MockCluster<'static, DefaultProducerContext> {
        let cluster = MockCluster::new(2).expect("two brokers");
        cluster.create_topic("t", 1, 2).expect("a topic");
        cluster.partition_leader("t", 0, Some(1)).expect("the first one leads");
        cluster
    }

    fn consumer(servers: &str, properties: &[(&str, &str)]) -> BaseConsumer<Log> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("group.id", "g").set("debug", "metadata");
        set_rebootstrap(&mut config);
        for (name, value) in properties {
            config.set(*name, *value);
        }
        config.set_log_level(RDKafkaLogLevel::Debug);
        let consumer: BaseConsumer<Log> =
            config.create_with_context(Log::default()).expect("a consumer");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset("t", 0, Offset::Beginning).expect("an offset");
        consumer.assign(&from).expect("it is assigned");
        consumer
    }

    fn write(servers: &str) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", servers).create().expect("a producer");
        producer.send(BaseRecord::<str, str>::to("t").payload("p")).expect("there is room");
        producer.flush(LIMIT).expect("it is written");
    }

    #[test]
    fn a_new_leader_is_asked_for_and_not_taken_over_from_the_answer_to_a_fetch() {
        let cluster = cluster();
        let servers = cluster.bootstrap_servers();
        let consumer = consumer(&servers, &[]);
        write(&servers);
        assert!(consumer.poll(LIMIT).is_some_and(|record| record.is_ok()));
        cluster.partition_leader("t", 0, Some(2)).expect("the second one leads");
        write(&servers);
        assert!(consumer.poll(LIMIT).is_some_and(|record| record.is_ok()));
        assert!(!consumer.context().has("METADATAUPDATE"));
        assert!(consumer.context().has("METADATA"));
    }

    #[test]
    fn starting_again_from_the_bootstrap_servers_is_stopped_by_no_answer() {
        let cluster = cluster();
        let after = ("metadata.recovery.rebootstrap.trigger.ms", "1000");
        let consumer = consumer(&cluster.bootstrap_servers(), &[after]);
        let begin = Instant::now();
        while !consumer.context().has("REBOOTSTRAP") {
            assert!(begin.elapsed() < LIMIT, "something has stopped it");
            assert!(consumer.poll(Duration::from_millis(10)).is_none());
        }
    }
}
