//! Searches logs and metrics for what services must never write: tokens, secrets, query strings and
//! payloads. Every stack does so when it shuts down.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::events::{self, PAYLOAD_MARKER};

/// The base64 of `{"`, with which the header and the claims of a JSON Web Token begin.
const TOKEN_PREFIX: &str = "eyJ";

/// Parameters that occur in query strings only.
const QUERY_PARAMETERS: [&str; 3] = ["token=", "last_event_id=", "categories="];

/// A search for forbidden texts.
#[derive(Debug)]
pub struct LeakSearch(Vec<String>);

impl LeakSearch {
    /// Forbids `secrets`, tokens, query strings, and the prose of the fixtures' payloads.
    ///
    /// # Errors
    /// When a fixture cannot be read.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut texts: Vec<String> = secrets.into_iter().collect();
        events::payloads()?.iter().for_each(|payload| collect_prose(payload, &mut texts));
        texts.extend(
            QUERY_PARAMETERS.into_iter().chain([TOKEN_PREFIX, PAYLOAD_MARKER]).map(str::to_owned),
        );
        texts.retain(|text| !text.is_empty());
        Ok(Self(texts))
    }

    /// Checks a log: no forbidden text, and every line is JSON without control characters, so that
    /// there is no panic message either.
    ///
    /// # Errors
    /// Names the first violation and its line.
    pub fn check_log(&self, name: &str, log: &str) -> anyhow::Result<()> {
        // A killed service may have written an incomplete last line.
        for line in log.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            serde_json::from_str::<Value>(line)
                .with_context(|| format!("{name} logged a line that is not JSON: {line}"))?;
            ensure!(
                !line.chars().any(char::is_control),
                "{name} logged control characters: {line:?}"
            );
            self.check_line(name, line)?;
        }
        Ok(())
    }

    /// Checks a metrics page: no forbidden text and no user id.
    ///
    /// # Errors
    /// Names the first violation and its line.
    pub fn check_metrics(&self, name: &str, page: &str) -> anyhow::Result<()> {
        for line in page.lines() {
            ensure!(
                !line.contains(events::USER_PREFIX),
                "a metric of {name} has a user id: {line}"
            );
            self.check_line(name, line)?;
        }
        Ok(())
    }

    fn check_line(&self, name: &str, line: &str) -> anyhow::Result<()> {
        let found = self.0.iter().find(|text| line.contains(text.as_str()));
        ensure!(found.is_none(), "{name} wrote the forbidden text {found:?}: {line}");
        Ok(())
    }
}

/// Collects the prose of a payload: texts with a space or a non-ASCII character.
fn collect_prose(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) if text.contains(' ') || !text.is_ascii() => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_prose(item, texts)),
        Value::Object(fields) => fields.values().for_each(|field| collect_prose(field, texts)),
        _ => {}
    }
}

/// Returns the secret part of a setting, if it has one.
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
    fn secrets_tokens_query_strings_and_payloads_are_found() {
        let search = LeakSearch::new(["hunter2".to_owned()]).unwrap();
        search.check_log("service", "{\"message\":\"fine\"}\n{\"half").unwrap();
        for text in ["hunter2", "eyJhbGciOiJIUzI1NiJ9", "/ws?token=x", PAYLOAD_MARKER, "Åsa Öberg"]
        {
            let line = format!("{{\"message\":\"it has {text}\"}}\n");
            search.check_log("service", &line).unwrap_err();
            search.check_metrics("service", &line).unwrap_err();
        }
    }

    #[test]
    fn invalid_json_control_characters_and_user_ids_in_metrics_are_found() {
        let search = LeakSearch::new([]).unwrap();
        search.check_log("service", "thread 'main' panicked\n").unwrap_err();
        search.check_log("service", "{\"message\":\"\u{9b}31m\"}\n").unwrap_err();
        let user = events::fresh_user();
        search.check_metrics("service", &format!("sent_total{{user=\"{user}\"}} 1")).unwrap_err();
        search.check_log("service", &format!("{{\"user.id\":\"{user}\"}}\n")).unwrap();
    }

    #[test]
    fn secret_settings_are_recognized_by_name_and_url() {
        let secret = |name, value| secret_of(name, value);
        assert_eq!(secret("JWT_SECRET_KEY", "a").as_deref(), Some("a"));
        assert_eq!(secret("REDIS_URL", "rediss://me:b@host:1/0").as_deref(), Some("b"));
        assert_eq!(secret("KAFKA_PROPERTY_SASL_PASSWORD", "c").as_deref(), Some("c"));
        assert_eq!(secret("REDIS_URL", "redis://host:1"), None);
        assert_eq!(secret("LOG_LEVEL", "INFO"), None);
    }
}
