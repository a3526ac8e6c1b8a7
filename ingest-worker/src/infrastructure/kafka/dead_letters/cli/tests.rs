use std::time::Duration;

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::OwnedMessage,
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::task::spawn_blocking;

use super::*;
use crate::config::command;

const DEAD_LETTERS: &str = "dead-letters";
const ORIGINAL: &str = "original";
const LIMIT: Duration = Duration::from_secs(10);

/// A dead-letter topic whose records have these headers, and the topic [`ORIGINAL`].
fn with_dead_letters(
    dead_letters: &[&[(&str, &str)]],
) -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(DEAD_LETTERS, 1, 1).unwrap();
    cluster.create_topic(ORIGINAL, 1, 1).unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers());
    let producer: BaseProducer = client.create().unwrap();
    for headers in dead_letters {
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: Some(*value) })
        });
        let dead_letter = BaseRecord::to(DEAD_LETTERS).key("key").payload("value").headers(headers);
        producer.send(dead_letter).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    cluster
}

async fn replay(cluster: &MockCluster<'_, DefaultProducerContext>) -> anyhow::Result<()> {
    replay_until(cluster, CancellationToken::new()).await
}

async fn replay_until(
    cluster: &MockCluster<'_, DefaultProducerContext>,
    interrupt: CancellationToken,
) -> anyhow::Result<()> {
    let servers = cluster.bootstrap_servers();
    let arguments = [
        "ingest-worker",
        "--kafka-bootstrap-servers",
        &servers,
        "--dead-letter-topic",
        DEAD_LETTERS,
    ];
    let (config, _) = shared::config::read::<Config, _, _>(command(), arguments).unwrap();
    let selection = Selection { reason: None, at: None };
    let replay = Replay { selection, yes: true, again: false, dry_run: false };
    let command = DeadLettersCommand::Replay(replay);
    spawn_blocking(move || command.run(&config, &interrupt)).await.unwrap()
}

/// The number of records that were sent to [`ORIGINAL`].
fn sent(cluster: &MockCluster<'_, DefaultProducerContext>) -> i64 {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers());
    let consumer: BaseConsumer = client.create().unwrap();
    consumer.fetch_watermarks(ORIGINAL, 0, LIMIT).unwrap().1
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_sent_does_not_keep_the_others_from_being_sent() {
    let reason = (header::REASON, "malformed");
    let cluster = with_dead_letters(&[
        &[("foreign", "record")],
        &[(header::TOPIC, "deleted"), reason],
        &[(header::TOPIC, "not a topic"), reason],
        &[(header::TOPIC, ORIGINAL), reason],
    ]);
    for _ in 0..2 {
        let error = replay(&cluster).await.unwrap_err().to_string();
        assert!(error.starts_with("3 could not be sent"), "{error}");
        assert_eq!(sent(&cluster), 1, "the dead letter is sent once");
    }
}

/// The records of a topic.
fn read(cluster: &MockCluster<'_, DefaultProducerContext>, topic: &str) -> Vec<OwnedMessage> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "test");
    let consumer: BaseConsumer = client.create().unwrap();
    let end = consumer.fetch_watermarks(topic, 0, LIMIT).unwrap().1;
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&start).unwrap();
    (0..end).map(|_| consumer.poll(LIMIT).expect("a record").unwrap().detach()).collect()
}

#[tokio::test]
async fn a_dead_letter_of_a_compacted_topic_is_replayed_as_it_was_and_its_note_has_a_value() {
    let origin = [(header::TOPIC, ORIGINAL), (header::REASON, "not_json")];
    let dead_letter =
        [origin[0], origin[1], (header::KEY, "original"), (header::VALUE_NULL, "true")];
    let cluster = with_dead_letters(&[&dead_letter]);
    replay(&cluster).await.unwrap();
    let sent = read(&cluster, ORIGINAL).remove(0);
    assert_eq!((sent.key(), sent.payload()), (Some(&b"original"[..]), None));
    let note = read(&cluster, DEAD_LETTERS).remove(1);
    assert!(note.payload().is_some(), "a note without a value is a tombstone");
}

#[tokio::test]
async fn a_record_is_replayed_uncompressed_to_a_topic_that_does_not_support_the_compression() {
    let cluster = with_dead_letters(&[&[(header::TOPIC, ORIGINAL), (header::REASON, "malformed")]]);
    let unsupported = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[unsupported]);
    replay(&cluster).await.unwrap();
    assert_eq!(sent(&cluster), 1);
}

#[tokio::test]
async fn a_header_like_that_of_a_note_neither_hides_a_dead_letter_nor_stands_for_a_replay() {
    let dead_letter = [(header::TOPIC, ORIGINAL), (header::REASON, "malformed")];
    let pretender = [(header::REPLAYED, "0:0"), dead_letter[0], dead_letter[1]];
    let cluster = with_dead_letters(&[&dead_letter, &pretender]);
    replay(&cluster).await.unwrap();
    assert_eq!(sent(&cluster), 2);
}

#[tokio::test]
async fn a_replay_that_is_interrupted_sends_nothing() {
    let cluster = with_dead_letters(&[&[(header::TOPIC, ORIGINAL), (header::REASON, "malformed")]]);
    let interrupt = CancellationToken::new();
    interrupt.cancel();
    let error = replay_until(&cluster, interrupt).await.unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    assert_eq!(sent(&cluster), 0);
}

#[tokio::test]
async fn an_interrupt_ends_the_wait_for_a_confirmation() {
    let interrupt = CancellationToken::new();
    let token = interrupt.clone();
    let read = || -> io::Result<String> {
        loop {
            thread::park();
        }
    };
    let waiting = spawn_blocking(move || answer(read, &token));
    interrupt.cancel();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    let answered =
        spawn_blocking(|| answer(|| Ok("y".to_owned()), &CancellationToken::new())).await.unwrap();
    assert_eq!(answered.unwrap(), "y");
}
