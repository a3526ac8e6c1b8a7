//! What the services must never write, whatever they meet: tokens, secrets, query strings,
//! payloads. Every stack looks for it when it ends, so that all scenarios together are one search
//! through all logs and metrics; what is wanted there is only that nothing is found.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::events;

/// A part of every payload that is sent, which nobody reads.
pub const PAYLOAD_MARKER: &str = "payload-mark-7c1f";

/// How every JSON Web Token begins, its header and its claims alike.
const TOKEN: &str = "eyJ";

/// Only a query string has these.
const QUERY: [&str; 3] = ["token=", "last_event_id=", "categories="];

/// Texts that are looked for.
#[derive(Debug)]
pub struct Leaks(Vec<String>);

impl Leaks {
    /// Looks for `secrets`, for any token, and for anything that the fixtures' payloads say to
    /// people.
    ///
    /// # Errors
    /// When a fixture cannot be read.
    pub fn of(secrets: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut texts: Vec<String> = secrets.into_iter().collect();
        events::payloads()?.iter().for_each(|payload| collect_words(payload, &mut texts));
        texts.extend(QUERY.into_iter().chain([TOKEN, PAYLOAD_MARKER]).map(str::to_owned));
        texts.retain(|text| !text.is_empty());
        Ok(Self(texts))
    }

    /// Looks through a log: nothing of ours is in it, every line is one JSON object without a
    /// character that could steer a terminal, and nothing panicked.
    ///
    /// # Errors
    /// Says what was found, by its line alone.
    pub fn search_log(&self, name: &str, log: &str) -> anyhow::Result<()> {
        // One that was killed may have written half a line.
        for line in log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            serde_json::from_str::<Value>(line)
                .with_context(|| format!("{name} wrote what is no JSON: {line}"))?;
            ensure!(
                !line.chars().any(char::is_control),
                "{name} wrote control characters: {line:?}"
            );
            self.search(name, line)?;
        }
        Ok(())
    }

    /// Looks through a page of metrics, which also names no user.
    ///
    /// # Errors
    /// Says what was found, by its line alone.
    pub fn search_metrics(&self, name: &str, page: &str) -> anyhow::Result<()> {
        for line in page.lines() {
            ensure!(!line.contains(events::USER_PREFIX), "metrics of {name} name a user: {line}");
            self.search(name, line)?;
        }
        Ok(())
    }

    fn search(&self, name: &str, line: &str) -> anyhow::Result<()> {
        let found = self.0.iter().find(|text| line.contains(text.as_str()));
        ensure!(found.is_none(), "{name} wrote {found:?}, which nobody may see: {line}");
        Ok(())
    }
}

/// Every text in a payload with a space or a letter that is not ASCII: what is said to people.
fn collect_words(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(' ') || !text.is_ascii() => words.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_words(item, words)),
        Value::Object(fields) => fields.values().for_each(|field| collect_words(field, words)),
        _ => {}
    }
}

/// What of a setting is secret.
#[must_use]
pub fn secret_of(name: &str, value: &str) -> Option<String> {
    if ["SECRET", "PASSWORD"].iter().any(|word| name.contains(word)) {
        return Some(value.to_owned());
    }
    let (_, rest) = value.split_once("://")?;
    let (credentials, _) = rest.split_once('@')?;
    Some(credentials.rsplit_once(':').map_or(credentials, |(_, password)| password).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_a_token_a_query_and_a_payload_are_found_wherever_they_are() {
        let leaks = Leaks::of(["hunter2".to_owned()]).unwrap();
        leaks.search_log("it", "{\"message\":\"fine\"}\n{\"half").unwrap();
        for text in ["hunter2", "eyJhbGciOiJIUzI1NiJ9", "/ws?token=x", PAYLOAD_MARKER, "Åsa Öberg"]
        {
            let line = format!("{{\"message\":\"it says {text}\"}}\n");
            leaks.search_log("it", &line).unwrap_err();
            leaks.search_metrics("it", &line).unwrap_err();
        }
    }

    #[test]
    fn a_line_that_is_no_json_and_a_user_among_the_metrics_are_found() {
        let leaks = Leaks::of([]).unwrap();
        leaks.search_log("it", "thread 'main' panicked\n").unwrap_err();
        leaks.search_log("it", "{\"message\":\"\u{9b}31m\"}\n").unwrap_err();
        let user = events::fresh_user();
        leaks.search_metrics("it", &format!("sent_total{{user=\"{user}\"}} 1")).unwrap_err();
        leaks.search_log("it", &format!("{{\"user.id\":\"{user}\"}}\n")).unwrap();
    }

    #[test]
    fn passwords_and_secrets_are_known_by_the_settings_that_hold_them() {
        let secret = |name, value| secret_of(name, value);
        assert_eq!(secret("JWT_SECRET_KEY", "a").as_deref(), Some("a"));
        assert_eq!(secret("REDIS_URL", "rediss://me:b@host:1/0").as_deref(), Some("b"));
        assert_eq!(secret("KAFKA_PROPERTY_SASL_PASSWORD", "c").as_deref(), Some("c"));
        assert_eq!(secret("REDIS_URL", "redis://host:1"), None);
        assert_eq!(secret("LOG_LEVEL", "INFO"), None);
    }
}
