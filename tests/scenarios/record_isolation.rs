//! A record that cannot be processed delays no other record, neither of other partitions nor of its
//! own. Each scenario measures the latency of other records meanwhile.

pub(crate) mod unreadable_batch;

use std::{collections::HashSet, time::Duration};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use harness::{
    events::{self, Case, Event, fresh_user},
    producer::{Record, header, raw, read_topic},
    redis::stream_key,
    stack::{Layout, Stack, TIMEOUT},
};
use rdkafka::{Message as _, message::OwnedMessage};
use redis::cmd;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    an_invalid_header_name_or_an_oversized_key_delays_no_other_record,
    a_dead_letter_topic_with_other_rules_delays_no_other_record,
    redis_keys_of_a_wrong_type_delay_no_other_record,
];

/// Events of one topic with keys of their own: enough to reach each of its three partitions.
const EVENTS_OF_ONE_TOPIC: usize = 24;
/// A record that waits for another one takes much longer.
const MAX_MEDIAN: Duration = Duration::from_secs(1);
/// The value of a record that ends as a dead letter.
const MALFORMED: &[u8] = b"no JSON";

fn case() -> anyhow::Result<Case> {
    events::designed()?.into_iter().next().context("the fixtures have events")
}

/// Checks that events of another user are delivered at once: one of each topic, and several of the
/// topic of the record in question.
async fn expect_no_delay(stack: &Stack, cause: &str) -> anyhow::Result<()> {
    let user = fresh_user();
    let mut events = events::one_of_each(&user)?;
    for _ in 0..EVENTS_OF_ONE_TOPIC {
        events.push(case()?.fresh(&user)?);
    }
    let events = events.into_iter().map(|event| (event, None)).collect();
    expect_delivery_at_once(stack, cause, &user, events).await
}

/// Checks that events of one user are delivered at once, those with a partition to this one.
async fn expect_delivery_at_once(
    stack: &Stack,
    cause: &str,
    user: &str,
    events: Vec<(Event, Option<i32>)>,
) -> anyhow::Result<()> {
    let mut clients = [stack.client(user).await?];
    let mut latencies = Vec::new();
    for (event, partition) in events {
        let sent = Instant::now();
        match partition {
            Some(partition) => stack.producer.send_to(partition, &event).await?,
            None => stack.producer.send(&event).await?,
        }
        expect_notifications(&mut clients[0], &[event]).await.context(cause.to_owned())?;
        latencies.push(sent.elapsed());
    }
    latencies.sort_unstable();
    let (median, max) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    println!("latency during {cause}: median {median:?}, max {max:?}");
    ensure!(median < MAX_MEDIAN, "expected a median below {MAX_MEDIAN:?}, got {median:?}");
    expect_no_further_frames(stack, user, &mut clients).await
}

async fn an_invalid_header_name_or_an_oversized_key_delays_no_other_record(
    context: &Context,
) -> anyhow::Result<()> {
    // Incompressible, just under the broker's limit of 1 MiB; the headers of the dead letter exceed
    // it.
    const KEY_SIZE: usize = 1_048_400;
    let stack = context.own_broker(&Layout::default()).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let event = case()?.fresh(&user)?;
    let (key, value) = (event.key.as_bytes(), serde_json::to_vec(&event.envelope)?);
    let not_utf8 = (&b"\xff\xfe"[..], &b"value"[..]);
    raw::write_with_header(&stack.kafka, &event.topic, key, &value, not_utf8).await?;
    expect_no_delay(&stack, "a header name that is not UTF-8").await?;
    let topic = event.topic.clone();
    expect_notifications(&mut clients[0], &[event]).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;

    let key: Vec<u8> = (0..KEY_SIZE).map(|_| rand::random()).collect();
    let valid = (&b"name"[..], &b"value"[..]);
    raw::write_with_header(&stack.kafka, &topic, &key, MALFORMED, valid).await?;
    expect_no_delay(&stack, "an oversized key").await?;
    let is_ours = |letter: &OwnedMessage| header(letter, "dlq.key_omitted") == Some("true");
    let complete = |letters: &[OwnedMessage]| letters.iter().any(is_ours);
    read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, complete).await?;
    stack.shut_down_and_check_logs().await
}

/// A compacted topic, which needs keys, with a small maximum size and no codec but gzip.
async fn a_dead_letter_topic_with_other_rules_delays_no_other_record(
    context: &Context,
) -> anyhow::Result<()> {
    const SMALL: usize = 20;
    let dead_letters = format!("strict-dead-letters-{}", Uuid::new_v4().simple());
    let rules = [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1000"),
        ("compression.type", "gzip"),
    ];
    let worker_settings = vec![("DEAD_LETTER_TOPIC", dead_letters.clone())];
    let stack = context.own_broker(&Layout { worker_settings, ..Layout::default() }).await?;
    stack.kafka.create_topic(&dead_letters, &rules).await?;
    let topic = case()?.topic;
    let (key, large) = (fresh_user(), (0..100_000).map(|_| rand::random()).collect::<Vec<u8>>());
    // Sent together, so that they could share a batch; a large one is among them.
    let value = Some(MALFORMED);
    let small = Record { topic: &topic, key: Some(&key), value, ..Record::default() };
    let large = Record { value: Some(&large), ..small };
    let tombstone = Record { value: None, ..small };
    let mut records = vec![small; SMALL];
    records.splice(SMALL / 2..SMALL / 2, [large, tombstone]);
    try_join_all(records.into_iter().map(|record| stack.producer.send_record(record))).await?;
    expect_no_delay(&stack, "a dead-letter topic with other rules").await?;
    let all = |letters: &[OwnedMessage]| letters.len() > SMALL + 1;
    let letters = read_topic(&stack.kafka, &dead_letters, TIMEOUT, all).await?;
    let with = |name| letters.iter().filter(|l| header(l, name) == Some("true")).count();
    let forms = ["dlq.value_omitted", "dlq.headers_omitted", "dlq.key_omitted"].map(with);
    let expected = [1, 0, 0];
    ensure!(forms == expected, "expected {expected:?} dead letters without a part, got {forms:?}");
    expect_to_survive_compaction(&letters, &key)?;
    stack.shut_down_and_check_logs().await
}

/// Compaction keeps the last record of each key, and removes those without a value.
fn expect_to_survive_compaction(letters: &[OwnedMessage], record_key: &str) -> anyhow::Result<()> {
    let keys: HashSet<_> = letters.iter().map(OwnedMessage::key).collect();
    ensure!(keys.len() == letters.len(), "dead letters share their keys: {keys:?}");
    ensure!(letters.iter().all(|letter| letter.payload().is_some()), "one has no value");
    let with = |name, value| letters.iter().filter(|l| header(l, name) == Some(value)).count();
    let counts = [with("dlq.key", record_key), with("dlq.value_null", "true")];
    let expected = [letters.len(), 1];
    ensure!(counts == expected, "expected {expected:?} with `dlq.key` or no value, got {counts:?}");
    Ok(())
}

async fn redis_keys_of_a_wrong_type_delay_no_other_record(context: &Context) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let mut redis = stack.redis.connection().await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let event = case()?.fresh(&user)?;
    // Strings where streams belong, and lists where strings belong.
    cmd("SET").arg(stream_key(&user)).arg("x").exec_async(&mut redis).await?;
    for key in [format!("ws:position:{{{user}}}"), format!("ws:owner:batch:{}", event.key)] {
        cmd("DEL").arg(&key).exec_async(&mut redis).await?;
        cmd("RPUSH").arg(key).arg("x").exec_async(&mut redis).await?;
    }
    stack.producer.send(&event).await?;
    expect_no_delay(&stack, "Redis keys of a wrong type").await?;
    expect_notifications(&mut clients[0], std::slice::from_ref(&event)).await?;
    let next = case()?.fresh(&user)?;
    let pattern = format!("ws:seen:{{{user}}}:*");
    let claims: Vec<String> = cmd("KEYS").arg(pattern).query_async(&mut redis).await?;
    ensure!(claims.len() == 1, "expected one claim, got {claims:?}");
    let claim = claims[0].replace(&event.id, &next.id);
    cmd("RPUSH").arg(claim).arg("x").exec_async(&mut redis).await?;
    stack.producer.send(&next).await?;
    expect_notifications(&mut clients[0], &[next]).await?;
    for key in ["history", "position", "claim"] {
        let wrong_type = format!("ingest_worker_wrong_type_keys_total{{key=\"{key}\"}}");
        let count = stack.workers[0].metric(&wrong_type).await?;
        ensure!(count >= 1.0, "expected {wrong_type} to be counted, got {count}");
    }
    stack.workers[0].kill().await?;
    cmd("SET").arg("ws:watermark:0").arg("x").exec_async(&mut redis).await?;
    stack.workers[0].restart().await?;
    let last = case()?.fresh(&user)?;
    stack.producer.send(&last).await?;
    expect_notifications(&mut clients[0], &[last]).await?;
    let wrong_type = r#"ingest_worker_wrong_type_keys_total{key="watermark"}"#;
    let count = stack.workers[0].metric(wrong_type).await?;
    ensure!(count >= 1.0, "expected {wrong_type} to be counted, got {count}");
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}
