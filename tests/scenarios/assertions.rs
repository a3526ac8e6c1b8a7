//! Assertions that many scenarios share.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use harness::{
    client::{Client, Closed},
    events::{self, Event, fresh_user},
    eventually,
    producer::read_topic,
    redis::RedisTopology,
    service::Service,
    stack::{Stack, TIMEOUT},
};
use rdkafka::{Message as _, message::OwnedMessage};
use serde_json::{Value, json};
use uuid::Uuid;

/// Longest wait for events to be published, including a fault and the time-outs that it causes.
const PUBLISHED_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest payload of a close frame's reason (RFC 6455: 125 bytes with the code).
const MAX_CLOSE_REASON: usize = 123;

/// Checks that the client receives the notifications of these events, in any order and each once.
pub(crate) async fn expect_notifications(
    client: &mut Client,
    events: &[Event],
) -> anyhow::Result<()> {
    let mut expected: Vec<&Event> = events.iter().collect();
    while !expected.is_empty() {
        let mut frame = client.next_notification(TIMEOUT).await?;
        let fields = frame.as_object_mut().context("a notification is an object")?;
        fields.remove("restored");
        let id = fields.remove("id");
        ensure!(id.as_ref().is_some_and(Value::is_string), "expected an id in {frame}");
        let Some(index) = expected.iter().position(|event| frame["event_id"] == *event.id) else {
            bail!("unexpected or duplicate notification: {frame}");
        };
        let event = expected.swap_remove(index);
        ensure!(frame == event.notification, "expected {}, got {frame}", event.notification);
    }
    Ok(())
}

/// Checks that no frame is on its way to the user's clients: what is published now is the next
/// frame of each.
pub(crate) async fn expect_no_further_frames(
    stack: &Stack<impl RedisTopology>,
    user: &str,
    clients: &mut [Client],
) -> anyhow::Result<()> {
    let marker = json!({"event": "marker", "data": {"of": Uuid::new_v4().to_string()}});
    stack.publish(user, &marker.to_string()).await?;
    for client in clients {
        let frame = client.next_notification(TIMEOUT).await?;
        ensure!(frame == marker, "expected no further frame, got {frame}");
    }
    Ok(())
}

/// Repeats a check until the gateway has received two more of its probes through Redis, which it
/// publishes every 2 s.
pub(crate) async fn during_two_redis_probes(
    gateway: &Service,
    mut check: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let probes = async || gateway.metric("gateway_redis_probes_total{result=\"returned\"}").await;
    let (before, deadline) = (probes().await?, Instant::now() + TIMEOUT);
    while probes().await? < before + 2.0 {
        ensure!(Instant::now() < deadline, "expected two more probes within {TIMEOUT:?}");
        check().await?;
    }
    Ok(())
}

/// Checks that the server closes the connection with this code.
pub(crate) async fn expect_close(client: &mut Client, code: u16) -> anyhow::Result<Closed> {
    let closed = client.next_close(TIMEOUT).await?;
    ensure!(closed.code == code, "expected close code {code}, got {closed:?}");
    Ok(closed)
}

/// Checks that the server closes the connection with this code and a JSON reason with this
/// `error_code`.
pub(crate) async fn expect_error_close(
    client: &mut Client,
    code: u16,
    error: &str,
) -> anyhow::Result<()> {
    let Closed { reason, .. } = expect_close(client, code).await?;
    ensure!(reason.len() <= MAX_CLOSE_REASON, "reason of {} bytes: {reason}", reason.len());
    let reason: Value = serde_json::from_str(&reason)?;
    let is_expected = reason["error_code"] == error && reason["message"].is_string();
    ensure!(is_expected, "expected error code {error} and a message, got {reason}");
    Ok(())
}

/// Waits until a user's stream has at least this many entries and returns them.
pub(crate) async fn wait_for_published(
    stack: &Stack<impl RedisTopology>,
    user: &str,
    entries: usize,
) -> anyhow::Result<Vec<(String, String)>> {
    eventually("the events are published", PUBLISHED_TIMEOUT, async || {
        let stream = stack.stream(user).await?;
        ensure!(stream.len() >= entries, "{} of {entries} events are published", stream.len());
        Ok(stream)
    })
    .await
}

/// Checks that a fresh user receives one event of each type once, and nothing else.
pub(crate) async fn expect_delivery(stack: &Stack<impl RedisTopology>) -> anyhow::Result<()> {
    let user = fresh_user();
    let connected = async || stack.client(&user).await;
    let mut clients = [eventually("a client connects", PUBLISHED_TIMEOUT, connected).await?];
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    wait_for_published(stack, &user, events.len()).await?;
    expect_notifications(&mut clients[0], &events).await?;
    expect_no_further_frames(stack, &user, &mut clients).await
}

/// Waits until there is a dead letter for each key, and returns all dead letters by key.
pub(crate) async fn wait_for_dead_letters(
    stack: &Stack<impl RedisTopology>,
    keys: &[&str],
) -> anyhow::Result<HashMap<String, OwnedMessage>> {
    let has = |letters: &[OwnedMessage], key: &&str| {
        letters.iter().any(|letter| letter.key() == Some(key.as_bytes()))
    };
    let complete = |letters: &[OwnedMessage]| keys.iter().all(|key| has(letters, key));
    let letters = read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, complete).await?;
    let by_key =
        |letter: OwnedMessage| Some((String::from_utf8(letter.key()?.to_vec()).ok()?, letter));
    Ok(letters.into_iter().filter_map(by_key).collect())
}
