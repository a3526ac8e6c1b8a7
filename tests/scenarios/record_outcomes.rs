//! Records made to do harm: each has the outcome that the contract gives it, the next record of
//! its partition arrives, and nothing of it is shown or written (what the logs may not say is
//! looked for when the stack ends).

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use harness::{
    client::{ConnectOptions, Transport},
    events::{self, Event, fresh_user},
    leaks::PAYLOAD_MARKER,
    producer::{Record, header, read_topic},
    stack::{Layout, Stack, TIMEOUT},
    token,
};
use rdkafka::{Message as _, message::OwnedMessage};
use serde_json::{Value, json};

use crate::{
    assertions::{expect_close, expect_notifications, wait_for_published},
    context::Context,
    runner::scenarios,
};

scenarios![
    whatever_is_in_a_record_it_has_its_outcome_and_the_next_one_arrives,
    a_record_too_large_to_be_written_again_is_a_dead_letter_without_its_value,
    even_the_most_talkative_log_says_nothing_of_tokens_and_payloads,
];

const TOPIC: &str = "huleedu.file.batch.file.added.v1";
/// Of another type than the records.
const OTHER_TOPIC: &str = "huleedu.class.created.v1";

/// What is to become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A dead letter with this reason.
    Letter(&'static str),
    /// Its user is told.
    Told,
}
use Outcome::{Letter, Told};

struct Attempt {
    user: String,
    topic: &'static str,
    value: Vec<u8>,
    outcome: Outcome,
}

/// An event whose envelope is changed.
fn changed(outcome: Outcome, change: impl FnOnce(&mut Value)) -> anyhow::Result<Attempt> {
    let mut event = event(&fresh_user())?;
    change(&mut event.envelope);
    let value = serde_json::to_vec(&event.envelope)?;
    Ok(Attempt { user: event.user, topic: TOPIC, value, outcome })
}

/// An event in whose text one part, as it is in the fixture, is written otherwise.
fn rewritten(outcome: Outcome, old: &str, new: &str) -> anyhow::Result<Attempt> {
    let event = event(&fresh_user())?;
    let text = event.envelope.to_string();
    ensure!(text.contains(old), "the fixture has no {old}");
    Ok(Attempt {
        user: event.user,
        topic: TOPIC,
        value: text.replacen(old, new, 1).into(),
        outcome,
    })
}

fn raw(reason: &'static str, value: &[u8]) -> Attempt {
    Attempt { user: fresh_user(), topic: TOPIC, value: value.into(), outcome: Letter(reason) }
}

fn event(user: &str) -> anyhow::Result<Event> {
    let cases = events::designed()?;
    cases.iter().find(|case| case.topic == TOPIC).context("the topic has an event")?.fresh(user)
}

/// No event at all, or not one whole.
fn not_events() -> anyhow::Result<Vec<Attempt>> {
    let whole = event(&fresh_user())?.envelope.to_string();
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let mut values = vec![
        raw("no_envelope", b"17"),
        raw("no_envelope", b"true"),
        raw("no_envelope", b"\"text\""),
        raw("no_envelope", deep.as_bytes()),
        raw("not_json", b"1e400x"),
        raw("not_json", b"\xef\xbb\xbf{}"),
        raw("not_json", &vec![0; 900_000]),
        raw("not_json", "{\"a\":".repeat(20_000).as_bytes()),
        // Compressed by the producer itself, not by the client: gzip, zstd, snappy, lz4.
        raw("not_json", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00"),
        raw("not_json", b"\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}"),
        raw("not_json", b"\x82SNAPPY\x00\x00\x00\x00\x01"),
        raw("not_json", b"\x04\x22\x4d\x18\x64\x40\xa7"),
    ];
    // Cut at every twentieth part.
    let cuts = (1..20).map(|part| whole.len() * part / 20);
    values.extend(cuts.map(|cut| raw("not_json", &whole.as_bytes()[..cut])));
    Ok(values)
}

/// Events with something odd in their envelope.
fn odd_envelopes() -> anyhow::Result<Vec<Attempt>> {
    let named = "\"event_type\":\"huleedu.file.batch.file.added.v1\"";
    let twice = format!("{named},{named}");
    let mut attempts = vec![
        changed(Told, |e| e["event_id"] = Value::Null)?,
        changed(Told, |e| e["event_id"] = "".into())?,
        changed(Told, |e| e["event_id"] = "not a uuid\r\n*".into())?,
        changed(Told, |e| e["event_id"] = "x".repeat(100_000).into())?,
        changed(Letter("no_envelope"), |e| e["event_id"] = 42.into())?,
        changed(Letter("no_envelope"), |e| e["correlation_id"] = json!({}))?,
        changed(Letter("no_envelope"), |e| e["event_type"] = json!(["x"]))?,
        changed(Letter("no_envelope"), |e| e["data"] = "{}".into())?,
        changed(Letter("no_envelope"), |e| e["data"] = Value::Null)?,
        changed(Told, |e| e["event_timestamp"] = "the day after".into())?,
        changed(Told, |e| e["metadata"] = json!("nothing"))?,
        changed(Told, |e| e["correlation_id"] = "a\r\nb\u{1b}[31m\u{202e}".into())?,
        changed(Told, |e| e["source_service"] = "forged\n{\"level\":\"ERROR\"}".into())?,
        rewritten(Letter("no_envelope"), named, &twice)?,
        rewritten(Letter("not_json"), "\"event_id\":\"", "\"event_id\":\"\\ud800")?,
        rewritten(
            Told,
            "\"data\":{",
            "\"more\":1e400,\"data\":{\"more\":1e400,\"lone\":\"\\udfff\",",
        )?,
        // A type that nobody knows is read as its topic says, however it is written.
        changed(Told, |e| e["event_type"] = "forged\r\n\u{1b}[2J".into())?,
    ];
    // A known type keeps its meaning on the topic of another.
    let elsewhere = changed(Told, |_| {})?;
    attempts.push(Attempt { topic: OTHER_TOPIC, ..elsewhere });
    Ok(attempts)
}

/// Events with something odd in their payload.
fn odd_payloads() -> anyhow::Result<Vec<Attempt>> {
    let malformed = Letter("malformed");
    let deep = format!("\"data\":{{\"deep\":{}{},", "[".repeat(20_000), "]".repeat(20_000));
    let deep_id = format!("\"data\":{{\"user_id\":{}{},", "[".repeat(20_000), "]".repeat(20_000));
    let mut attempts = vec![
        rewritten(Told, "\"data\":{", &deep)?,
        rewritten(malformed, "\"data\":{", &deep_id)?,
        rewritten(malformed, "\"batch_id\":\"", "\"batch_id\":\"\\ud800")?,
        rewritten(malformed, "\"batch_id\":\"", "\"batch_id\":1e400,\"batch\":\"")?,
        rewritten(malformed, "\"batch_id\":", "\"batch_id\":\"x\",\"batch_id\":")?,
        changed(malformed, |e| e["data"]["user_id"] = "x".repeat(100_000).into())?,
        changed(malformed, |e| e["data"]["user_id"] = "a\u{85}b".into())?,
        changed(malformed, |e| e["data"]["batch_id"] = json!({"a": 1}))?,
        changed(malformed, |e| e["data"]["filename"] = json!(["a"]))?,
        changed(malformed, |e| e["data"]["timestamp"] = json!(1_754_471_730))?,
        changed(Told, |e| e["data"]["timestamp"] = "yesterday, or so".into())?,
        changed(Told, |e| e["data"]["timestamp"] = "9999999-99-99T99:99:99Z".into())?,
        changed(Told, |e| e["data"]["filename"] = "<img src=x onerror=\0\u{1b}]0;\u{7}>".into())?,
        changed(Told, |e| e["data"]["more"] = "x".repeat(1_040_000).into())?,
    ];
    // Odd ids that are ids all the same.
    for odd in ["*", "a:b", "{a}", "a}{b", "ws:*", "stream:{a}", "a b", "\u{202e}"] {
        let user = format!("{odd}{}", fresh_user());
        let mut attempt = changed(Told, |e| e["data"]["user_id"] = user.clone().into())?;
        attempt.user = user;
        attempts.push(attempt);
    }
    Ok(attempts)
}

async fn whatever_is_in_a_record_it_has_its_outcome_and_the_next_one_arrives(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut attempts = not_events()?;
    attempts.extend(odd_envelopes()?.into_iter().chain(odd_payloads()?));
    let unheard = changed(Letter("malformed"), |e| e["event_type"] = "huleedu.unheard\n".into())?;
    // Its topic is what says how to read it.
    attempts.push(Attempt { topic: "huleedu.batch.essays.registered.v1", ..unheard });
    let mut next = Vec::with_capacity(attempts.len());
    for Attempt { user: key, topic, value, .. } in &attempts {
        let mut good = event(&user)?;
        (good.key, good.topic) = (key.clone(), (*topic).to_owned());
        let record = Record { topic, key: Some(key), value: Some(value), ..Record::default() };
        stack.producer.send_record(record).await?;
        stack.producer.send(&good).await?;
        next.push(good);
    }
    expect_notifications(&mut client, &next).await.context("the next records")?;
    let told = attempts.iter().filter(|attempt| attempt.outcome == Told);
    for attempt in told {
        was_told(stack, attempt).await.with_context(|| shown(attempt))?;
    }
    check_letters(stack, &attempts).await
}

/// Its beginning, for error messages.
fn shown(attempt: &Attempt) -> String {
    let beginning = &attempt.value[..attempt.value.len().min(400)];
    format!("{:?}: {}", attempt.outcome, String::from_utf8_lossy(beginning))
}

async fn was_told(stack: &Stack, attempt: &Attempt) -> anyhow::Result<()> {
    let entries = wait_for_published(stack, &attempt.user, 1).await?;
    ensure!(entries.len() == 1, "told {} times", entries.len());
    let notification: Value = serde_json::from_str(&entries[0].1)?;
    ensure!(notification["user_id"] == attempt.user, "told {}", notification["user_id"]);
    ensure!(!entries[0].1.contains(PAYLOAD_MARKER), "what nobody reads is passed on");
    Ok(())
}

async fn check_letters(stack: &Stack, attempts: &[Attempt]) -> anyhow::Result<()> {
    let letters = || attempts.iter().filter(|attempt| matches!(attempt.outcome, Letter(_)));
    let key = |letter: &OwnedMessage| String::from_utf8(letter.key()?.to_vec()).ok();
    let ours = |read: &[OwnedMessage]| -> HashMap<String, OwnedMessage> {
        read.iter().filter_map(|letter| Some((key(letter)?, letter.clone()))).collect()
    };
    let all = |read: &[OwnedMessage]| {
        let keys = ours(read);
        letters().all(|attempt| keys.contains_key(&attempt.user))
    };
    let read = ours(&read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, all).await?);
    for attempt in attempts {
        let letter = read.get(&attempt.user);
        let reason = letter.and_then(|letter| header(letter, "dlq.reason"));
        let expected = match attempt.outcome {
            Letter(reason) => Some(reason),
            Told => None,
        };
        ensure!(reason == expected, "{}: {reason:?}", shown(attempt));
        let Some(letter) = letter else { continue };
        ensure!(letter.payload() == Some(&*attempt.value), "{}: its value", shown(attempt));
        let detail = header(letter, "dlq.detail").context("a letter says more")?;
        let quotes = [PAYLOAD_MARKER, &attempt.user].iter().any(|text| detail.contains(text));
        ensure!(!quotes && !detail.contains(char::is_control), "it quotes: {detail:?}");
    }
    Ok(())
}

async fn a_record_too_large_to_be_written_again_is_a_dead_letter_without_its_value(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut next = event(&user)?;
    // As much as the broker takes of what cannot be compressed: with its headers it is too much.
    let value: Vec<u8> = (0..1_048_450).map(|_| rand::random()).collect();
    next.key.clone_from(&user);
    let record =
        Record { topic: TOPIC, key: Some(&user), value: Some(&value), ..Record::default() };
    stack.producer.send_record(record).await?;
    stack.producer.send(&next).await?;
    expect_notifications(&mut client, &[next]).await.context("the next record")?;
    let ours = |letter: &OwnedMessage| letter.key() == Some(user.as_bytes());
    let arrived = |read: &[OwnedMessage]| read.iter().any(ours);
    let read = read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, arrived).await?;
    let letter = read.iter().find(|letter| ours(letter)).context("it has just been there")?;
    ensure!(letter.payload().is_none(), "it has a value");
    ensure!(header(letter, "dlq.value_omitted") == Some("true"), "{:?}", letter.headers());
    ensure!(header(letter, "dlq.reason") == Some("not_json"), "{:?}", letter.headers());
    Ok(())
}

async fn even_the_most_talkative_log_says_nothing_of_tokens_and_payloads(
    context: &Context,
) -> anyhow::Result<()> {
    let talkative = || vec![("LOG_LEVEL", "TRACE".to_owned())];
    let layout =
        Layout { worker_settings: talkative(), gateway_settings: talkative(), ..Layout::default() };
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
        let again = connect().token(&stack.token(&user)?, transport);
        let again = again.query("last_event_id", &position);
        again.open().await?.next_notification(TIMEOUT).await?;
        let forged = token::sign(&token::claims(&user, 3600), &token::fresh_secret())?;
        let refused = connect().token(&forged, transport);
        expect_close(&mut refused.open().await?, 1008).await?;
    }
    let bad = changed(Letter("malformed"), |e| e["data"]["batch_id"] = json!([PAYLOAD_MARKER]))?;
    let record = Record { topic: TOPIC, value: Some(&bad.value), ..Record::default() };
    stack.producer.send_record(record).await?;
    // Other scenarios' records are dead letters here as well.
    let ours = |letters: &[OwnedMessage]| letters.iter().any(|l| l.payload() == Some(&*bad.value));
    read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, ours).await?;
    stack.shut_down_and_check_logs().await
}
