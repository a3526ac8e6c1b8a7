use futures_util::future::join;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::OwnedMessage,
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};

use super::*;
use crate::{
    config::command,
    domain::record::DeadLetterReason,
    infrastructure::kafka::{dead_letters::header, headers},
};

const TOPIC: &str = "dead-letters";

/// A broker that answers the first produce requests with errors, and a writer to it.
fn refusing(
    errors: &[RDKafkaRespErr],
) -> (MockCluster<'static, DefaultProducerContext>, DeadLetters) {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, errors);
    let servers = cluster.bootstrap_servers();
    let arguments =
        ["ingest-worker", "--kafka-bootstrap-servers", &servers, "--dead-letter-topic", TOPIC];
    let (config, _) = shared::config::read::<Config, _, _>(command(), arguments).unwrap();
    let dead_letters = DeadLetters::new(&config).unwrap();
    (cluster, dead_letters)
}

fn original() -> Original<'static> {
    Original {
        topic: "t",
        partition: 3,
        offset: 42,
        written_at: None,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: vec![("original", Some(b"v"))],
        unread_headers: 0,
        lacks_value: false,
    }
}

async fn write(dead_letters: &DeadLetters) -> Result<(), TransientError> {
    let rejection = DeadLetterReason::Malformed.with_detail("detail");
    dead_letters.write_one(original(), &rejection, false).await
}

/// The only dead letter in the topic.
fn read(cluster: &MockCluster<'_, DefaultProducerContext>) -> OwnedMessage {
    read_all(cluster, 1).remove(0)
}

/// The first dead letters in the topic.
fn read_all(cluster: &MockCluster<'_, DefaultProducerContext>, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .unwrap();
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&start).unwrap();
    // A poll may also end without a record.
    let polls = (0..30).filter_map(|_| consumer.poll(Duration::from_secs(1)));
    let dead_letters =
        polls.map(|dead_letter| dead_letter.unwrap().detach()).take(count).collect::<Vec<_>>();
    assert_eq!(dead_letters.len(), count, "the topic has fewer dead letters");
    dead_letters
}

fn header_names(dead_letter: &OwnedMessage) -> Vec<&str> {
    headers::readable(dead_letter.headers()).map(|header| header.key).collect()
}

#[tokio::test]
async fn a_dead_letter_that_is_too_large_is_reduced_until_the_topic_accepts_it() {
    let (cluster, dead_letters) =
        refusing(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 3]);
    write(&dead_letters).await.unwrap();
    let dead_letter = read(&cluster);
    assert_eq!([dead_letter.key(), dead_letter.payload()], [Some(&b"t:3:42"[..]), None]);
    let names = header_names(&dead_letter);
    for name in [header::REASON, header::VALUE_OMITTED, header::HEADERS_OMITTED] {
        assert!(names.contains(&name), "{name} is not one of {names:?}");
    }
    assert!(!names.contains(&"original"));
}

#[tokio::test]
async fn a_record_that_was_copied_without_its_value_is_written_as_such() {
    let (cluster, dead_letters) = refusing(&[]);
    let original = Original { value: None, lacks_value: true, ..original() };
    let rejection = DeadLetterReason::Malformed.with_detail("detail");
    dead_letters.write_one(original, &rejection, false).await.unwrap();
    let dead_letter = read(&cluster);
    assert_eq!([dead_letter.key(), dead_letter.payload()], [Some(&b"key"[..]), None]);
    assert!(header_names(&dead_letter).contains(&header::VALUE_OMITTED));
}

#[tokio::test]
async fn a_dead_letter_that_is_too_large_does_not_reduce_another() {
    let (cluster, dead_letters) = refusing(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let (first, second) = join(write(&dead_letters), write(&dead_letters)).await;
    first.and(second).unwrap();
    let dead_letters = read_all(&cluster, 2);
    assert_eq!(
        dead_letters.iter().filter(|dead_letter| dead_letter.payload().is_none()).count(),
        1
    );
}

#[tokio::test]
async fn a_dead_letter_whose_compression_is_unsupported_is_written_uncompressed() {
    let (cluster, dead_letters) =
        refusing(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE]);
    write(&dead_letters).await.unwrap();
    assert!(!dead_letters.producer.active().compresses);
    assert_eq!(read(&cluster).payload(), Some(&b"value"[..]));
    let (cluster, dead_letters) =
        refusing(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE]);
    dead_letters.write_skipped("t", 3, 42..43).await.unwrap();
    assert_eq!(read(&cluster).payload(), Some(&b""[..]));
}

#[tokio::test]
async fn a_dead_letter_that_is_refused_in_every_form_is_to_be_retried() {
    let (cluster, dead_letters) = refusing(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 4]);
    assert!(write(&dead_letters).await.is_err());
    write(&dead_letters).await.unwrap();
    assert_eq!(read(&cluster).payload(), Some(&b"value"[..]));
}
