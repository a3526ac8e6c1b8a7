//! What log lines and traces say of a record: its origin, in texts of bounded length, and log
//! messages that are written once per text.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use shared::envelope::{Envelope, JsonString};

use super::record::Record;

/// Texts that a [`LogOnce`] keeps. Producers choose the texts, so their number has a limit;
/// beyond it nothing more is logged.
const MAX_TEXTS: usize = 1_000;

/// Characters of a producer's text that a log line shows; the text can be as long as a record.
const MAX_LOGGED_CHARS: usize = 128;

/// A filter for log messages that are written once for each text.
#[derive(Debug, Default)]
pub(super) struct LogOnce(Mutex<HashSet<Box<str>>>);

impl LogOnce {
    /// Returns whether this is the first call with `text`, or with one that looks the same in a
    /// log; false for new texts once the set is full.
    pub(super) fn first_seen(&self, text: &str) -> bool {
        let text = truncate_for_log(text);
        // Each change is a single insertion, so a poisoned set is still consistent.
        let mut texts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        texts.len() < MAX_TEXTS && !texts.contains(text) && texts.insert(text.into())
    }
}

/// The origin of an event as its producer states it, truncated for logs.
#[derive(Debug, Default)]
pub(crate) struct EventSource {
    /// The envelope's `source_service`.
    pub(crate) service: Option<Box<str>>,
    /// The envelope's `correlation_id`.
    pub(crate) correlation_id: Option<Box<str>>,
    /// W3C trace context of the producer, not validated; `None` while tracing is off.
    pub(crate) traceparent: Option<Box<str>>,
}

impl EventSource {
    pub(super) fn of(envelope: &Envelope<'_>, traceparent: Option<Box<str>>) -> Self {
        let truncated = |text: &JsonString<'_>| truncate_for_log(text).into();
        Self {
            service: envelope.source_service.as_ref().map(truncated),
            correlation_id: envelope.correlation_id.as_ref().map(truncated),
            traceparent,
        }
    }
}

/// Returns the first [`MAX_LOGGED_CHARS`] characters of a producer's text.
pub(super) fn truncate_for_log(text: &str) -> &str {
    if text.len() <= MAX_LOGGED_CHARS {
        return text; // It has no more characters than bytes.
    }
    text.char_indices().nth(MAX_LOGGED_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// Returns the `traceparent` of the record's header, else that of the envelope.
pub(super) fn traceparent(record: &Record<'_>, envelope: &Envelope<'_>) -> Option<Box<str>> {
    match record.traceparent {
        Some(header) => Some(truncate_for_log(header).into()),
        None => envelope.traceparent().map(|text| truncate_for_log(&text).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_first_seen_once_and_the_set_is_bounded() {
        let texts = LogOnce::default();
        assert!(texts.first_seen("a") && !texts.first_seen("a") && texts.first_seen("b"));
        let seen = (0..2 * MAX_TEXTS).filter(|n| texts.first_seen(&n.to_string())).count();
        assert_eq!(seen, MAX_TEXTS - 2);
    }

    #[test]
    fn a_long_text_takes_no_more_memory_than_its_logged_part() {
        let texts = LogOnce::default();
        let long = "\u{1f600}".repeat(300_000);
        assert!(texts.first_seen(&long));
        let bytes: usize = texts.0.lock().unwrap().iter().map(|text| text.len()).sum();
        assert_eq!(bytes, 4 * MAX_LOGGED_CHARS);
        assert!(!texts.first_seen(&long));
    }
}
