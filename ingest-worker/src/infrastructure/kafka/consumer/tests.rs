use std::time::Duration;

use prometheus::Registry;
use rdkafka::{
    ClientConfig,
    consumer::BaseConsumer,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use shared::config;
use tokio::time::timeout;

use super::*;
use crate::{
    config::command,
    infrastructure::kafka::offsets::{Committed, InFlightId},
    notification::loss_time::LossTime,
};

const LIMIT: Duration = Duration::from_mins(1);

fn produce(servers: &str, records: usize) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", servers).create().expect("a producer");
    for _ in 0..records {
        let record = BaseRecord::<str, str>::to("t").partition(0).payload("p");
        producer.send(record).expect("the queue has room");
    }
    producer.flush(LIMIT).expect("the records are acknowledged");
}

fn committed(servers: &str, group: &str) -> Option<i64> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers).set("group.id", group);
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition("t", 0);
    let committed = consumer.committed_offsets(list, LIMIT).expect("the broker answers");
    committed.find_partition("t", 0).and_then(|element| element.offset().to_raw())
}

/// Returns the member of a group, whose name follows, that reads a topic with five records.
fn member(cluster: &MockCluster<'_, DefaultProducerContext>) -> (Arc<Consumer>, String) {
    cluster.create_topic("t", 1, 1).expect("a topic");
    let servers = cluster.bootstrap_servers();
    produce(&servers, 5);
    let arguments = ["ingest-worker", "--kafka-bootstrap-servers", &servers];
    let (config, _) = config::read::<Config, _, _>(command(), arguments).expect("valid settings");
    let metrics = Metrics::new(&Registry::new());
    let consumer = Consumer::subscribe(&config, vec!["t".into()], metrics);
    (Arc::new(consumer.expect("a consumer")), config.settings.kafka_consumer_group)
}

/// Reads the five records, as the consume loop does.
async fn read_all(source: &mut KafkaSource<'_>) -> Vec<(i64, InFlightId)> {
    let mut records = Vec::new();
    while records.len() < 5 {
        let read = timeout(LIMIT, source.read()).await.expect("the records are read");
        records.extend(read.into_iter().map(|record| (record.offset(), record.state.id)));
        // Until then, each read asks the broker where the partition begins.
        source.take_assignment_changed();
    }
    records
}

/// Reads the five records, and stores their offsets as those of finished ones.
async fn finish_all(source: &mut KafkaSource<'_>) {
    for (offset, id) in read_all(source).await {
        source.offsets().finish("t", 0, offset, id);
    }
    source.store_offsets();
}

/// Polls until it is done: what the client reports is taken meanwhile.
async fn read_until(source: &mut KafkaSource<'_>, what: &str, is_done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_done() {
        assert!(begun.elapsed() < LIMIT, "{what}");
        timeout(Duration::from_millis(100), source.read()).await.ok();
    }
}

#[tokio::test]
async fn a_member_reads_its_partitions_and_commits_up_to_the_first_unfinished_record() {
    let cluster = MockCluster::new(1).expect("a broker");
    let servers = cluster.bootstrap_servers();
    let (consumer, group) = member(&cluster);
    let mut source = consumer.source();
    let mut records = Vec::new();
    while records.len() < 5 {
        records.extend(timeout(LIMIT, source.read()).await.expect("the records are read"));
    }
    assert!(source.take_assignment_changed() && !source.take_assignment_changed());
    assert_eq!(source.offsets().assigned(), BTreeSet::from([("t".to_owned(), 0)]));
    let offsets: Vec<i64> = records.iter().map(InFlightRecord::offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    for record in [0, 1, 2, 4].map(|index| &records[index]) {
        source.offsets().finish("t", 0, record.offset(), record.state.id);
    }
    source.store_offsets();
    assert_eq!(source.fatal_error(), None);
    let is_committed = || committed(&servers, &group).is_some_and(|offset| offset >= 3);
    read_until(&mut source, "the offset is committed", is_committed).await;
    drop((records, source));
    tokio::task::spawn_blocking(move || drop(consumer)).await.expect("it leaves the group");
    assert_eq!(committed(&servers, &group), Some(3));
}

#[tokio::test]
async fn a_commit_that_fails_is_counted_and_the_next_one_covers_it() {
    let cluster = MockCluster::new(1).expect("a broker");
    let servers = cluster.bootstrap_servers();
    let (consumer, group) = member(&cluster);
    let mut source = consumer.source();
    let records = read_all(&mut source).await;
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[denied]);
    for (offset, id) in records {
        source.offsets().finish("t", 0, offset, id);
    }
    source.store_offsets();
    let failures = &consumer.membership().metrics().commit_failures;
    let is_repeated = || failures.get() > 0 && committed(&servers, &group) == Some(5);
    read_until(&mut source, "the failure is counted and the commit repeated", is_repeated).await;
    assert_eq!(failures.get(), 1);
}

/// The broker may refuse the commit of a rewound partition while its group rebalances.
#[tokio::test]
async fn an_offset_of_a_rewound_partition_is_committed_again_without_further_progress() {
    let cluster = MockCluster::new(1).expect("a broker");
    let servers = cluster.bootstrap_servers();
    let (consumer, group) = member(&cluster);
    let mut source = consumer.source();
    finish_all(&mut source).await;
    let begun = Instant::now();
    while committed(&servers, &group) != Some(5) {
        assert!(begun.elapsed() < LIMIT, "nothing is committed");
    }
    consumer.client.seek("t", 0, Offset::Offset(0), LIMIT).expect("the partition is assigned");
    for (offset, id) in read_all(&mut source).await.into_iter().take(2) {
        source.offsets().finish("t", 0, offset, id);
    }
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refusal; 2]);
    let begun = Instant::now();
    while committed(&servers, &group) != Some(2) {
        assert!(begun.elapsed() < LIMIT, "the offset is not committed");
        source.store_offsets();
        timeout(Duration::from_millis(100), source.read()).await.ok();
    }
}

/// As after a truncation of the log, whose end the client finds by itself.
#[tokio::test]
async fn offsets_below_the_committed_one_are_committed_after_a_rewind() {
    let cluster = MockCluster::new(1).expect("a broker");
    let servers = cluster.bootstrap_servers();
    let (consumer, group) = member(&cluster);
    let mut source = consumer.source();
    // The last is committed by the client's periodic commit again.
    for ends in [&[5][..], &[2, 4]] {
        let records = read_all(&mut source).await;
        for &end in ends {
            for (offset, id) in records.iter().filter(|(offset, _)| *offset < end) {
                source.offsets().finish("t", 0, *offset, *id);
            }
            source.store_offsets();
            let begun = Instant::now();
            while committed(&servers, &group) != Some(end) {
                assert!(begun.elapsed() < LIMIT, "{end} is not committed");
            }
        }
        let beginning = Offset::Offset(0);
        consumer.client.seek("t", 0, beginning, LIMIT).expect("the partition is assigned");
    }
    assert_eq!(consumer.membership().metrics().offset_resets.get(), 1);
}

/// The coordinator answers no request for offsets until a rebalance of the group ends.
#[tokio::test]
async fn a_partition_is_rewound_while_the_coordinator_returns_no_offsets() {
    let cluster = MockCluster::new(1).expect("a broker");
    let (consumer, _) = member(&cluster);
    let mut source = consumer.source();
    finish_all(&mut source).await;
    let is_committed = || consumer.membership().offsets().committed("t", 0) == Committed::Offset(5);
    read_until(&mut source, "nothing is committed", is_committed).await;
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[denied]);
    let to = RewindTo::Offset { from: 2, silent_until: 0, loss: LossTime::default() };
    let rewound = source.rewind(&[(("t".to_owned(), 0), to)]).await;
    assert!(matches!(rewound[..], [Ok(Some(2))]), "{rewound:?}");
}
