//! Records that are no events: where they end, and that the next record still arrives.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    producer::{Record, header, read_topic},
    stack::{Stack, TIMEOUT},
};
use rdkafka::{Message as _, message::OwnedMessage};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{assertions::expect_notifications, context::Context, runner::scenarios};

scenarios![
    what_is_no_event_is_dead_lettered_and_the_next_record_arrives,
    a_payload_of_the_wrong_form_is_dead_lettered_on_every_topic,
    a_record_for_an_unusable_user_is_dead_lettered,
    an_event_of_an_unknown_type_holds_nobody_up,
    a_large_record_is_handled_like_any_other,
];

/// Sends a value that cannot be handled, then an event of its partition, waits for the event and
/// returns the dead letter.
async fn dead_letter(
    stack: &Stack,
    topic: &str,
    value: Option<&[u8]>,
) -> anyhow::Result<OwnedMessage> {
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut next = event(&user, topic)?;
    let key = Uuid::new_v4().to_string();
    next.key.clone_from(&key);
    let headers = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let record = Record { topic, key: Some(&key), value, headers: &headers, ..Record::default() };
    stack.producer.send_record(record).await?;
    stack.producer.send(&next).await?;
    expect_notifications(&mut client, &[next]).await.context("the next record")?;
    let is_ours = |letter: &OwnedMessage| letter.key() == Some(key.as_bytes());
    let arrived = |letters: &[OwnedMessage]| letters.iter().any(is_ours);
    let letters = read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, arrived).await?;
    letters.into_iter().find(is_ours).context("it has just been there")
}

/// An event of the type that belongs on a topic.
fn event(user: &str, topic: &str) -> anyhow::Result<Event> {
    let cases = events::designed()?;
    cases.iter().find(|case| case.topic == topic).context("the topic has an event")?.fresh(user)
}

fn check(
    letter: &OwnedMessage,
    topic: &str,
    value: Option<&[u8]>,
    reason: &str,
) -> anyhow::Result<()> {
    let shown = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    ensure!(letter.payload() == value, "{shown}: the value has changed");
    ensure!(header(letter, "dlq.reason") == Some(reason), "{shown}: {:?}", letter.headers());
    ensure!(header(letter, "dlq.topic") == Some(topic), "{shown}: {:?}", letter.headers());
    for name in ["dlq.partition", "dlq.offset", "dlq.timestamp"] {
        let number = header(letter, name).with_context(|| format!("header {name}"))?;
        ensure!(!number.is_empty(), "{shown}: {name} is {number}");
    }
    for name in ["dlq.detail", "dlq.worker", "traceparent"] {
        ensure!(header(letter, name).is_some_and(|text| !text.is_empty()), "{shown}: {name}");
    }
    Ok(())
}

const TOPIC: &str = "huleedu.file.batch.file.added.v1";

async fn what_is_no_event_is_dead_lettered_and_the_next_record_arrives(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let deep = "[".repeat(20_000);
    let cases: [(Option<&[u8]>, &str); 9] = [
        (None, "not_json"),
        (Some(b""), "not_json"),
        (Some(b"hello"), "not_json"),
        (Some(br#"{"event_type":"x","data":{"#), "not_json"),
        (Some(b"\xff\xfe\x00"), "not_json"),
        (Some(deep.as_bytes()), "not_json"),
        (Some(b"[]"), "no_envelope"),
        (Some(b"null"), "no_envelope"),
        (Some(br#"{"event_type":"huleedu.file.batch.file.added.v1"}"#), "no_envelope"),
    ];
    for (value, reason) in cases {
        let letter = dead_letter(stack, TOPIC, value).await?;
        check(&letter, TOPIC, value, reason)?;
    }
    Ok(())
}

async fn a_payload_of_the_wrong_form_is_dead_lettered_on_every_topic(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for case in events::designed()? {
        let mut event = case.fresh(&fresh_user())?;
        // It names its user but no subject.
        event.envelope["data"] = json!({"user_id": event.user});
        let value = serde_json::to_vec(&event.envelope)?;
        let letter = dead_letter(stack, &case.topic, Some(&value)).await?;
        check(&letter, &case.topic, Some(&value), "malformed")?;
    }
    Ok(())
}

async fn a_record_for_an_unusable_user_is_dead_lettered(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let long = "x".repeat(257);
    for user in [json!("a\r\nb"), json!("nul\0"), json!(long), json!(42), json!(["a"])] {
        let mut event = event("somebody", TOPIC)?;
        event.envelope["data"]["user_id"] = user;
        let value = serde_json::to_vec(&event.envelope)?;
        let letter = dead_letter(stack, TOPIC, Some(&value)).await?;
        check(&letter, TOPIC, Some(&value), "malformed")?;
    }
    Ok(())
}

async fn an_event_of_an_unknown_type_holds_nobody_up(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut unknown = event(&user, TOPIC)?;
    unknown.envelope["event_type"] = "huleedu.unheard.of.v9".into();
    unknown.envelope["data"] = json!({"nothing": "known"});
    let mut next = event(&user, TOPIC)?;
    next.key.clone_from(&unknown.key);
    stack.producer.send(&unknown).await?;
    stack.producer.send(&next).await?;
    expect_notifications(&mut client, &[next]).await
}

async fn a_large_record_is_handled_like_any_other(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut event = event(&user, TOPIC)?;
    event.envelope["data"]["ignored"] = Value::String("x".repeat(900_000));
    stack.producer.send(&event).await?;
    expect_notifications(&mut client, &[event]).await
}
