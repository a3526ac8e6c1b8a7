use std::time::Duration;

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _},
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
    spawn_blocking(move || command.run(&config, CancellationToken::new())).await.unwrap()
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

#[tokio::test]
async fn a_header_like_that_of_a_note_neither_hides_a_dead_letter_nor_stands_for_a_replay() {
    let dead_letter = [(header::TOPIC, ORIGINAL), (header::REASON, "malformed")];
    let pretender = [(header::REPLAYED, "0:0"), dead_letter[0], dead_letter[1]];
    let cluster = with_dead_letters(&[&dead_letter, &pretender]);
    replay(&cluster).await.unwrap();
    assert_eq!(sent(&cluster), 2);
}
