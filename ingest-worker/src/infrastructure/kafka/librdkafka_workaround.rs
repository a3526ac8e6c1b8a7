//! Replaces two functions of librdkafka 2.12 at link time (`replaced.c`, `build.rs`). Both defects
//! show when a broker returns, both are open upstream:
//!
//! - A fetch response may name new leaders of partitions. Where it names none, the client applies
//!   uninitialised memory: it crashes, or never reads the partition again
//!   (<https://github.com/confluentinc/librdkafka/issues/5280>,
//!   <https://github.com/confluentinc/librdkafka/issues/5430>). The replacement ignores leaders in
//!   such responses; the client requests metadata instead, as it did before version 2.5.
//! - A cluster that has lost all its brokers returns an empty broker list, and the client drops
//!   those it knew. It then re-bootstraps from `bootstrap.servers`, unless the end of processing
//!   that very response stops the timer: the client stays without brokers for good
//!   (<https://github.com/confluentinc/librdkafka/issues/5301>). The replacement never stops the
//!   timer. The timer also re-bootstraps when no broker has answered a metadata request for
//!   `metadata.recovery.rebootstrap.trigger.ms`; [`disable_rebootstrap_trigger`] prevents that, as
//!   it would now happen after every request.
//!
//! A third defect is in the build: CMake does not define what makes counting brokers that are down
//! atomic, so that no client notices that all of them are, and none re-bootstraps
//! (<https://github.com/confluentinc/librdkafka/pull/5136>). `.cargo/config.toml` defines it.
//!
//! On an update of `rdkafka-sys`, which is pinned for this reason: read the issues, remove the
//! `--wrap` arguments in `build.rs`, and run the tests below; a replacement whose test passes
//! without it can be deleted. Where the replacements are not linked (other systems than Linux, or
//! librdkafka linked dynamically) the defects remain and the trigger keeps its default; then the
//! checks in [`super::health`] restart the process.

use rdkafka::ClientConfig;

/// Sets the trigger to its maximum, 25 days, where the timer is never stopped.
pub(crate) fn disable_rebootstrap_trigger(client: &mut ClientConfig) {
    // Set by `build.rs` if it links the replacements.
    if cfg!(replaces_librdkafka_functions) {
        client.set("metadata.recovery.rebootstrap.trigger.ms", i32::MAX.to_string());
    }
}

#[cfg(all(test, replaces_librdkafka_functions))]
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

    /// The facilities that the client has logged.
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
        let cluster = MockCluster::new(2).expect("a cluster of two brokers");
        cluster.create_topic("t", 1, 2).expect("a topic");
        cluster.partition_leader("t", 0, Some(1)).expect("broker 1 leads");
        cluster
    }

    fn consumer(servers: &str, properties: &[(&str, &str)]) -> BaseConsumer<Log> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("group.id", "g").set("debug", "metadata");
        disable_rebootstrap_trigger(&mut config);
        for (name, value) in properties {
            config.set(*name, *value);
        }
        config.set_log_level(RDKafkaLogLevel::Debug);
        let consumer: BaseConsumer<Log> =
            config.create_with_context(Log::default()).expect("a consumer");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset("t", 0, Offset::Beginning).expect("an offset");
        consumer.assign(&from).expect("the partition is assigned");
        consumer
    }

    fn produce(servers: &str) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", servers).create().expect("a producer");
        producer.send(BaseRecord::<str, str>::to("t").payload("p")).expect("the queue has room");
        producer.flush(LIMIT).expect("the record is acknowledged");
    }

    /// Waits for an entry of the log; returns how many records and errors were read meanwhile.
    fn wait_for(consumer: &BaseConsumer<Log>, facility: &str) -> usize {
        let (begin, mut read) = (Instant::now(), 0);
        while !consumer.context().has(facility) {
            assert!(begin.elapsed() < LIMIT, "{facility} is not logged");
            read += usize::from(consumer.poll(Duration::from_millis(10)).is_some());
        }
        read
    }

    #[test]
    fn a_new_leader_is_requested_and_not_taken_from_a_fetch_response() {
        let cluster = cluster();
        let servers = cluster.bootstrap_servers();
        let consumer = consumer(&servers, &[]);
        produce(&servers);
        assert!(consumer.poll(LIMIT).is_some_and(|record| record.is_ok()));
        cluster.partition_leader("t", 0, Some(2)).expect("broker 2 leads");
        produce(&servers);
        assert!(consumer.poll(LIMIT).is_some_and(|record| record.is_ok()));
        assert!(!consumer.context().has("METADATAUPDATE"));
        assert!(consumer.context().has("METADATA"));
    }

    #[test]
    fn a_client_without_brokers_asks_the_bootstrap_servers_again() {
        let cluster = MockCluster::new(1).expect("a cluster of one broker");
        cluster.create_topic("t", 1, 1).expect("a topic");
        let servers = cluster.bootstrap_servers();
        let consumer = consumer(&servers, &[]);
        produce(&servers);
        assert!(consumer.poll(LIMIT).is_some_and(|record| record.is_ok()));
        cluster.broker_down(1).expect("the broker exists");
        wait_for(&consumer, "REBOOTSTRAP");
        // Else the consumer waits for it before it is closed.
        cluster.broker_up(1).expect("the broker exists");
    }

    #[test]
    fn no_response_stops_the_rebootstrap_timer() {
        let cluster = cluster();
        let after = ("metadata.recovery.rebootstrap.trigger.ms", "1000");
        let consumer = consumer(&cluster.bootstrap_servers(), &[after]);
        assert_eq!(wait_for(&consumer, "REBOOTSTRAP"), 0);
    }
}
