//! Where an event comes from, as far as its producer says it.

use shared::envelope::{Envelope, Text};

use super::record::Record;

/// Where an event comes from, in its producer's words and not at any length.
#[derive(Debug, Default)]
pub struct Source {
    /// The service that sent it.
    pub service: Option<Box<str>>,
    /// What it belongs to.
    pub correlation_id: Option<Box<str>>,
    /// Where it stands in a trace, if that is read.
    pub traceparent: Option<Box<str>>,
}

impl Source {
    pub(super) fn of(envelope: &Envelope<'_>, traceparent: Option<Box<str>>) -> Self {
        let shown = |text: &Text<'_>| beginning(text).into();
        Self {
            service: envelope.source_service.as_ref().map(shown),
            correlation_id: envelope.correlation_id.as_ref().map(shown),
            traceparent,
        }
    }
}

/// As much of a producer's text as a log line may hold; the text may be as long as a record.
pub(super) fn beginning(text: &str) -> &str {
    text.char_indices().nth(128).map_or(text, |(end, _)| &text[..end])
}

/// The header wins; neither counts for much before it has been checked.
pub(super) fn place_in_trace(record: &Record<'_>, envelope: &Envelope<'_>) -> Option<Box<str>> {
    match record.traceparent {
        Some(header) => Some(beginning(header).into()),
        None => envelope.traceparent().map(|text| beginning(&text).into()),
    }
}
