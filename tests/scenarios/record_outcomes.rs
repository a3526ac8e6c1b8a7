//! Each record ends with the outcome that the contract prescribes for its content, and the next
//! record of its partition is delivered. The logs are checked when the stack shuts down.

mod cases;

use anyhow::{Context as _, ensure};
use harness::{
    client::{ConnectOptions, Transport},
    events::{self, PAYLOAD_MARKER, fresh_user},
    producer::{Record, header, raw},
    stack::{Layout, Stack, TIMEOUT},
    token,
};
use rdkafka::{Message as _, message::OwnedMessage};
use serde_json::{Value, json};

use crate::{
    assertions::{expect_close, expect_notifications, wait_for_dead_letters, wait_for_published},
    context::Context,
    runner::scenarios,
};
use cases::{
    Case,
    Outcome::{DeadLetter, Published},
    TOPIC,
};

scenarios![
    every_record_has_its_outcome_and_the_next_record_is_delivered,
    a_dead_letter_over_the_broker_limit_is_written_without_its_value,
    commands_read_dead_letters_beside_a_record_with_an_invalid_header_name,
    no_token_and_no_payload_is_logged_at_trace_level,
];

/// A header that a dead letter keeps.
const TRACEPARENT: (&str, &str) =
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

async fn every_record_has_its_outcome_and_the_next_record_is_delivered(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let cases = cases::all()?;
    let mut next = Vec::with_capacity(cases.len());
    for Case { user: key, topic, value, .. } in &cases {
        let (key, value) = (Some(&**key), value.as_deref());
        let record = Record { topic, key, value, headers: &[TRACEPARENT], ..Record::default() };
        stack.producer.send_record(record).await?;
        // The same key leads to the same partition.
        let mut event = cases::event(&user)?;
        (event.key, event.topic) = (key.unwrap_or_default().to_owned(), topic.clone());
        stack.producer.send(&event).await?;
        next.push(event);
    }
    expect_notifications(&mut client, &next).await.context("the next records")?;
    for case in cases.iter().filter(|case| case.outcome == Published) {
        expect_published_once(stack, case).await.with_context(|| case.describe())?;
    }
    let is_letter = |case: &&Case| case.outcome != Published;
    let keys: Vec<&str> = cases.iter().filter(is_letter).map(|case| &*case.user).collect();
    let letters = wait_for_dead_letters(stack, &keys).await?;
    for case in &cases {
        let letter = letters.get(&case.user);
        check_dead_letter(case, letter).with_context(|| case.describe())?;
    }
    Ok(())
}

async fn expect_published_once(stack: &Stack, case: &Case) -> anyhow::Result<()> {
    let entries = wait_for_published(stack, &case.user, 1).await?;
    ensure!(entries.len() == 1, "expected one entry in the stream, got {}", entries.len());
    let notification: Value = serde_json::from_str(&entries[0].1)?;
    ensure!(
        notification["user_id"] == case.user,
        "expected user {}, got {notification}",
        case.user
    );
    ensure!(!entries[0].1.contains(PAYLOAD_MARKER), "an unknown field of the payload is published");
    Ok(())
}

/// Checks that there is a dead letter exactly if the case expects one, with the original record,
/// every `dlq.*` header, and a detail that quotes nothing of the record.
fn check_dead_letter(case: &Case, letter: Option<&OwnedMessage>) -> anyhow::Result<()> {
    let reason = letter.and_then(|letter| header(letter, "dlq.reason"));
    let expected = if let DeadLetter(reason) = case.outcome { Some(reason) } else { None };
    ensure!(reason == expected, "expected dead letter {expected:?}, got {reason:?}");
    let Some(letter) = letter else { return Ok(()) };
    ensure!(letter.payload() == case.value.as_deref(), "the value differs from the record's");
    for (name, expected) in [TRACEPARENT, ("dlq.topic", &case.topic)] {
        expect_header(letter, name, expected)?;
    }
    for name in ["dlq.partition", "dlq.offset", "dlq.timestamp", "dlq.detail", "dlq.worker"] {
        let is_set = header(letter, name).is_some_and(|text| !text.is_empty());
        ensure!(is_set, "expected a header {name}, got {:?}", letter.headers());
    }
    let detail = header(letter, "dlq.detail").unwrap_or_default();
    let quotes = [PAYLOAD_MARKER, &case.user].iter().any(|text| detail.contains(text));
    ensure!(!quotes && !detail.contains(char::is_control), "the detail quotes: {detail:?}");
    Ok(())
}

fn expect_header(letter: &OwnedMessage, name: &str, expected: &str) -> anyhow::Result<()> {
    let value = header(letter, name);
    ensure!(value == Some(expected), "{name}: expected {expected}, got {value:?}");
    Ok(())
}

async fn a_dead_letter_over_the_broker_limit_is_written_without_its_value(
    context: &Context,
) -> anyhow::Result<()> {
    // Incompressible, just under the broker's limit of 1 MiB; the `dlq.*` headers exceed it.
    const VALUE_SIZE: usize = 1_048_450;
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut next = cases::event(&user)?;
    next.key.clone_from(&user);
    let value: Vec<u8> = (0..VALUE_SIZE).map(|_| rand::random()).collect();
    let (key, value) = (Some(&*user), Some(&*value));
    stack.producer.send_record(Record { topic: TOPIC, key, value, ..Record::default() }).await?;
    stack.producer.send(&next).await?;
    expect_notifications(&mut client, &[next]).await.context("the next record")?;
    let letters = wait_for_dead_letters(stack, &[&user]).await?;
    let letter = letters.get(&user).context("waited for")?;
    ensure!(letter.payload().is_none(), "expected no value");
    expect_header(letter, "dlq.value_omitted", "true")?;
    expect_header(letter, "dlq.reason", "not_json")
}

/// Another program has written a record to the dead-letter topic.
async fn commands_read_dead_letters_beside_a_record_with_an_invalid_header_name(
    context: &Context,
) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let (stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let (topic, not_utf8) = (&*stack.dead_letter_topic, (&b"\xff\xfe"[..], &b"value"[..]));
    raw::write_with_header(&stack.kafka, topic, b"foreign", b"value", not_utf8).await?;
    let (key, value) = (Some(&*user), Some(&b"no JSON"[..]));
    stack.producer.send_record(Record { topic: TOPIC, key, value, ..Record::default() }).await?;
    let letters = wait_for_dead_letters(&stack, &[&user]).await?;
    let letter = letters.get(&user).context("waited for")?;
    let position = format!("{}:{}", letter.partition(), letter.offset());
    let list = stack.workers[0].run_command(&["dead-letters", "list"], "").await?.stdout;
    let is_ours = |line: &str| line.starts_with(&format!("{position}\tnot_json\t{TOPIC}["));
    ensure!(list.lines().any(is_ours), "expected the dead letter {position}, got {list}");
    ensure!(list.contains("\t\t[]@\t"), "expected a record without a reason, got {list}");
    let missing = ["--dead-letter-topic", "no-such-topic", "dead-letters", "list"];
    let none = stack.workers[0].run_command(&missing, "").await?.stdout;
    ensure!(none.contains("no-such-topic, which does not exist"), "expected no topic, got {none}");
    let replay = ["dead-letters", "replay", "--at", &position, "--yes"];
    let output = stack.workers[0].run_command(&replay, "").await?.stdout;
    ensure!(output.contains("1 sent"), "expected that one record is sent, got {output}");
    stack.shut_down_and_check_logs().await
}

async fn no_token_and_no_payload_is_logged_at_trace_level(context: &Context) -> anyhow::Result<()> {
    let trace = || vec![("LOG_LEVEL", "TRACE".to_owned())];
    let (worker_settings, gateway_settings) = (trace(), trace());
    let layout = Layout { worker_settings, gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    client.send_json(&json!({"type": "auth", "token": stack.token(&user)?})).await?;
    client.send_json(&json!(PAYLOAD_MARKER)).await?;
    let position = stack.stream(&user).await?[0].0.clone();
    for transport in [Transport::Header, Transport::Subprotocol, Transport::Query] {
        let connect = || ConnectOptions::new(stack.gateways[0].address());
        let resumed = connect().token(&stack.token(&user)?, transport);
        let resumed = resumed.query("last_event_id", &position);
        resumed.open().await?.next_notification(TIMEOUT).await?;
        let forged = token::sign(&token::claims(&user, 3600), &token::fresh_secret())?;
        let rejected = connect().token(&forged, transport);
        expect_close(&mut rejected.open().await?, 1008).await?;
    }
    let bad = cases::changed(DeadLetter("malformed"), |envelope| {
        envelope["data"]["batch_id"] = json!([PAYLOAD_MARKER]);
    })?;
    let (key, value) = (Some(&*bad.user), bad.value.as_deref());
    stack.producer.send_record(Record { topic: TOPIC, key, value, ..Record::default() }).await?;
    wait_for_dead_letters(&stack, &[&bad.user]).await?;
    stack.shut_down_and_check_logs().await
}
