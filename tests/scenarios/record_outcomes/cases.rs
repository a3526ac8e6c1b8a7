//! Records with unusual content, each with the outcome that the contract prescribes.

use anyhow::{Context as _, ensure};
use harness::events::{self, Event, fresh_user};
use serde_json::{Value, json};

/// The topic of the event that most records are made from.
pub(super) const TOPIC: &str = "huleedu.file.batch.file.added.v1";
const OTHER_TOPIC: &str = "huleedu.class.created.v1";
const REGISTRATION_TOPIC: &str = "huleedu.batch.essays.registered.v1";
/// Deeper than serde_json's recursion limit of 128.
const DEEP: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A dead letter with this reason.
    DeadLetter(&'static str),
    /// One notification for the user of the record.
    Published,
}
use Outcome::{DeadLetter, Published};

const NOT_JSON: Outcome = DeadLetter("not_json");
const NO_ENVELOPE: Outcome = DeadLetter("no_envelope");
const MALFORMED: Outcome = DeadLetter("malformed");

/// A record; its user is also its key, by which its dead letter is found.
pub(super) struct Case {
    pub(super) user: String,
    pub(super) topic: String,
    pub(super) value: Option<Vec<u8>>,
    pub(super) outcome: Outcome,
}

impl Case {
    fn new(user: String, value: impl Into<Vec<u8>>, outcome: Outcome) -> Self {
        Self { user, topic: TOPIC.to_owned(), value: Some(value.into()), outcome }
    }

    fn on(mut self, topic: &str) -> Self {
        topic.clone_into(&mut self.topic);
        self
    }

    /// The outcome and the beginning of the value, for error messages.
    pub(super) fn describe(&self) -> String {
        let value = self.value.as_deref().unwrap_or_default();
        let beginning = String::from_utf8_lossy(&value[..value.len().min(400)]);
        format!("{:?} on {}: {beginning}", self.outcome, self.topic)
    }
}

/// An event of the type that belongs on [`TOPIC`].
pub(super) fn event(user: &str) -> anyhow::Result<Event> {
    let cases = events::designed()?;
    cases.iter().find(|case| case.topic == TOPIC).context("the topic has an event")?.fresh(user)
}

/// A record that is not made from an event.
fn raw(outcome: Outcome, value: impl Into<Vec<u8>>) -> Case {
    Case::new(fresh_user(), value, outcome)
}

/// An event with a changed envelope.
pub(super) fn changed(outcome: Outcome, change: impl FnOnce(&mut Value)) -> anyhow::Result<Case> {
    let mut event = event(&fresh_user())?;
    change(&mut event.envelope);
    Ok(Case::new(event.user, serde_json::to_vec(&event.envelope)?, outcome))
}

/// An event whose JSON text has one part replaced.
fn rewritten(outcome: Outcome, old: &str, new: &str) -> anyhow::Result<Case> {
    let event = event(&fresh_user())?;
    let text = event.envelope.to_string();
    ensure!(text.contains(old), "the fixture does not contain {old}");
    Ok(Case::new(event.user, text.replacen(old, new, 1), outcome))
}

pub(super) fn all() -> anyhow::Result<Vec<Case>> {
    let all = [not_events()?, envelopes()?, payloads()?, users()?];
    Ok(all.into_iter().flatten().collect())
}

/// Values that are not JSON, or JSON that is not an envelope.
fn not_events() -> anyhow::Result<Vec<Case>> {
    let whole = event(&fresh_user())?.envelope.to_string();
    let nested = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let mut cases = vec![
        Case { value: None, ..raw(NOT_JSON, "") },
        raw(NOT_JSON, ""),
        raw(NOT_JSON, "hello"),
        raw(NOT_JSON, "1e400x"),
        raw(NOT_JSON, b"\xff\xfe\x00"),
        raw(NOT_JSON, b"\xef\xbb\xbf{}"),
        raw(NOT_JSON, vec![0; 900_000]),
        raw(NOT_JSON, "[".repeat(DEEP)),
        raw(NOT_JSON, "{\"a\":".repeat(DEEP)),
        // Compressed by the producing application instead of its client: gzip, zstd, snappy, lz4.
        raw(NOT_JSON, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00"),
        raw(NOT_JSON, b"\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}"),
        raw(NOT_JSON, b"\x82SNAPPY\x00\x00\x00\x00\x01"),
        raw(NOT_JSON, b"\x04\x22\x4d\x18\x64\x40\xa7"),
        raw(NO_ENVELOPE, "17"),
        raw(NO_ENVELOPE, "true"),
        raw(NO_ENVELOPE, "null"),
        raw(NO_ENVELOPE, "\"text\""),
        raw(NO_ENVELOPE, "[]"),
        raw(NO_ENVELOPE, nested),
        raw(NO_ENVELOPE, r#"{"event_type":"huleedu.file.batch.file.added.v1"}"#),
    ];
    // Truncated at every twentieth of its length.
    let cuts = (1..20).map(|part| whole.len() * part / 20);
    cases.extend(cuts.map(|cut| raw(NOT_JSON, &whole.as_bytes()[..cut])));
    Ok(cases)
}

/// Events with unusual fields in their envelope.
fn envelopes() -> anyhow::Result<Vec<Case>> {
    let event_type = "\"event_type\":\"huleedu.file.batch.file.added.v1\"";
    let overflow = "\"more\":1e400,\"data\":{\"more\":1e400,\"lone\":\"\\udfff\",";
    Ok(vec![
        changed(Published, |e| e["event_id"] = Value::Null)?,
        changed(Published, |e| e["event_id"] = "".into())?,
        changed(Published, |e| e["event_id"] = "not a uuid\r\n*".into())?,
        changed(Published, |e| e["event_id"] = "x".repeat(100_000).into())?,
        changed(Published, |e| e["event_timestamp"] = "the day after".into())?,
        changed(Published, |e| e["metadata"] = json!("nothing"))?,
        changed(Published, |e| e["correlation_id"] = "a\r\nb\u{1b}[31m\u{202e}".into())?,
        changed(Published, |e| e["source_service"] = "forged\n{\"level\":\"ERROR\"}".into())?,
        rewritten(Published, "\"data\":{", overflow)?,
        changed(NO_ENVELOPE, |e| e["event_id"] = 42.into())?,
        changed(NO_ENVELOPE, |e| e["correlation_id"] = json!({}))?,
        changed(NO_ENVELOPE, |e| e["event_type"] = json!(["x"]))?,
        changed(NO_ENVELOPE, |e| e["data"] = "{}".into())?,
        changed(NO_ENVELOPE, |e| e["data"] = Value::Null)?,
        rewritten(NO_ENVELOPE, event_type, &format!("{event_type},{event_type}"))?,
        rewritten(NOT_JSON, "\"event_id\":\"", "\"event_id\":\"\\ud800")?,
        // The topic decides how an unknown type is read, the type how a known one is.
        changed(Published, |e| e["event_type"] = "forged\r\n\u{1b}[2J".into())?,
        changed(MALFORMED, |e| *e = json!({"event_type": "unknown.v9", "data": {"a": "b"}}))?,
        changed(MALFORMED, |e| e["event_type"] = "unknown\n".into())?.on(REGISTRATION_TOPIC),
        changed(Published, |_| {})?.on(OTHER_TOPIC),
    ])
}

/// Events with unusual fields in their payload, and on every topic one that names no subject.
fn payloads() -> anyhow::Result<Vec<Case>> {
    let nested = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let markup = "<img src=x onerror=\0\u{1b}]0;\u{7}>";
    let mut cases = vec![
        rewritten(Published, "\"data\":{", &format!("\"data\":{{\"deep\":{nested},"))?,
        rewritten(MALFORMED, "\"data\":{", &format!("\"data\":{{\"user_id\":{nested},"))?,
        rewritten(MALFORMED, "\"batch_id\":\"", "\"batch_id\":\"\\ud800")?,
        rewritten(MALFORMED, "\"batch_id\":\"", "\"batch_id\":1e400,\"batch\":\"")?,
        rewritten(MALFORMED, "\"batch_id\":", "\"batch_id\":\"x\",\"batch_id\":")?,
        changed(MALFORMED, |e| e["data"]["batch_id"] = json!({"a": 1}))?,
        changed(MALFORMED, |e| e["data"]["filename"] = json!(["a"]))?,
        changed(MALFORMED, |e| e["data"]["timestamp"] = json!(1_754_471_730))?,
        changed(Published, |e| e["data"]["timestamp"] = "yesterday, or so".into())?,
        changed(Published, |e| e["data"]["timestamp"] = "9999999-99-99T99:99:99Z".into())?,
        changed(Published, |e| e["data"]["filename"] = markup.into())?,
        changed(Published, |e| e["data"]["more"] = "x".repeat(1_040_000).into())?,
    ];
    for case in events::designed()? {
        let mut event = case.fresh(&fresh_user())?;
        event.envelope["data"] = json!({"user_id": event.user});
        let value = serde_json::to_vec(&event.envelope)?;
        cases.push(Case::new(event.user, value, MALFORMED).on(&case.topic));
    }
    Ok(cases)
}

/// Events for user ids that are invalid, and for unusual ones that are valid.
fn users() -> anyhow::Result<Vec<Case>> {
    let too_long = "x".repeat(257);
    let invalid = ["a\r\nb", "nul\0", "a\u{85}b", &too_long, &"x".repeat(100_000)].map(Value::from);
    let invalid = invalid.into_iter().chain([json!(42), json!(["a"])]);
    let mut cases = Vec::new();
    for user in invalid {
        cases.push(changed(MALFORMED, |e| e["data"]["user_id"] = user)?);
    }
    for prefix in ["*", "a:b", "{a}", "a}{b", "ws:*", "stream:{a}", "a b", "\u{202e}"] {
        let user = format!("{prefix}{}", fresh_user());
        let case = changed(Published, |e| e["data"]["user_id"] = user.clone().into())?;
        cases.push(Case { user, ..case });
    }
    Ok(cases)
}
