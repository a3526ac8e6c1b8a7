//! The envelope around every event. Parsing copies nothing and leaves the payload as raw JSON,
//! which the route of the event type parses.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::Deserialize;
use serde_json::value::RawValue;

/// A JSON string, borrowed from the record unless it contains escapes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct JsonString<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Deref for JsonString<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The wrapper that producers put around an event. Only `event_type` and `data` are required;
/// unknown keys are ignored.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// Selects the route.
    #[serde(borrow)]
    pub event_type: JsonString<'a>,
    /// The payload: a JSON object, byte for byte as sent.
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// Identifies the event for idempotency; by convention a UUID.
    #[serde(borrow)]
    pub event_id: Option<JsonString<'a>>,
    /// When the event happened, unless the payload says so itself.
    #[serde(borrow)]
    pub event_timestamp: Option<JsonString<'a>>,
    /// The producing service; used in logs.
    #[serde(borrow)]
    pub source_service: Option<JsonString<'a>>,
    /// Copied into the notification and into logs.
    #[serde(borrow)]
    pub correlation_id: Option<JsonString<'a>>,
    /// Holds `traceparent` and `tracestate`; raw, since it is only read when tracing is enabled.
    #[serde(borrow)]
    pub metadata: Option<&'a RawValue>,
}

/// Why a record is not an envelope. The messages never quote the record.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes are not UTF-8 JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object with a string `event_type` and an object `data`.
    #[error("not an envelope: {0}")]
    NotAnEnvelope(String),
}

impl<'a> Envelope<'a> {
    /// Parses a record's value.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the value is not JSON or not an envelope.
    pub fn parse(value: &'a [u8]) -> Result<Self, EnvelopeError> {
        let text = std::str::from_utf8(value)
            .map_err(|error| EnvelopeError::NotJson(format!("invalid UTF-8: {error}")))?;
        let envelope: Self = serde_json::from_str(text).map_err(|error| classify(text, &error))?;
        // The derived `Deserialize` also reads an array as a struct.
        if !is_object(text) {
            return Err(EnvelopeError::NotAnEnvelope("the value is not an object".into()));
        }
        if !is_object(envelope.data.get()) {
            return Err(EnvelopeError::NotAnEnvelope("`data` is not an object".into()));
        }
        Ok(envelope)
    }

    /// Returns the `traceparent` of the metadata, not validated.
    #[must_use]
    pub fn traceparent(&self) -> Option<JsonString<'a>> {
        #[derive(Deserialize)]
        struct Metadata<'a> {
            #[serde(borrow)]
            traceparent: Option<JsonString<'a>>,
        }
        let metadata = self.metadata?.get();
        let metadata = is_object(metadata).then(|| serde_json::from_str::<Metadata<'a>>(metadata));
        metadata?.ok()?.traceparent
    }
}

/// Returns whether a JSON text is an object.
fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

fn classify(text: &str, error: &serde_json::Error) -> EnvelopeError {
    let detail = describe_json_error(error);
    // A type mismatch is reported before the rest is read, so the rest may still not be JSON.
    if error.is_data() && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        EnvelopeError::NotAnEnvelope(detail)
    } else {
        EnvelopeError::NotJson(detail)
    }
}

/// Describes a JSON error by kind and position, without quoting the input.
#[must_use]
pub fn describe_json_error(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "ends too early",
        serde_json::error::Category::Syntax => "syntax error",
        serde_json::error::Category::Data => "missing field or wrong type",
        serde_json::error::Category::Io => "unreadable",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_event_type_and_data_are_required() {
        let envelope = Envelope::parse(br#"{"data":{"a":1},"event_type":"t","x":[1]}"#).unwrap();
        assert_eq!(&*envelope.event_type, "t");
        assert_eq!(envelope.data.get(), r#"{"a":1}"#);
        assert!(envelope.event_id.is_none() && envelope.metadata.is_none());
    }

    #[test]
    fn the_traceparent_is_read_from_metadata_of_any_shape() {
        let traceparent = |metadata: &str| {
            let record = format!(r#"{{"event_type":"t","data":{{}},"metadata":{metadata}}}"#);
            Envelope::parse(record.as_bytes()).unwrap().traceparent().map(|text| text.to_string())
        };
        assert_eq!(traceparent(r#"{"x":1,"traceparent":"00-1"}"#).as_deref(), Some("00-1"));
        for none in
            ["null", "{}", "7", r#"["00-1"]"#, r#"{"traceparent":7}"#, r#"{"traceparent":null}"#]
        {
            assert_eq!(traceparent(none), None, "{none}");
        }
    }

    #[test]
    fn null_counts_as_missing_and_escapes_are_decoded() {
        let record =
            r#"{"event_type":"\u00c5\ud83d\ude00","data":{},"event_id":null,"metadata":null}"#;
        let envelope = Envelope::parse(record.as_bytes()).unwrap();
        assert_eq!(&*envelope.event_type, "Å😀");
        assert!(envelope.event_id.is_none());
    }

    #[test]
    fn invalid_json_is_distinguished_from_json_that_is_no_envelope() {
        let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        for bad in ["", "{", "nope", r#"{"event_type":"t","data":{}"#, r#"{"event_type":1,"#] {
            let error = Envelope::parse(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, EnvelopeError::NotJson(_)), "{bad}: {error}");
        }
        for bad in [
            "null",
            "[]",
            "1",
            "{}",
            r#"{"event_type":"t"}"#,
            r#" ["t",{},null,null,null,null,null]"#,
            r#"{"data":{}}"#,
            r#"{"event_type":1,"data":{}}"#,
            r#"{"event_type":"t","data":[]}"#,
            r#"{"event_type":"t","data":"x"}"#,
            r#"{"event_type":"t","data":null}"#,
            &deep,
        ] {
            let error = Envelope::parse(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, EnvelopeError::NotAnEnvelope(_)), "{error}");
        }
        assert!(matches!(Envelope::parse(b"\xff{}"), Err(EnvelopeError::NotJson(_))));
    }

    #[test]
    fn errors_never_quote_the_record() {
        let error = Envelope::parse(br#"{"event_type":"t","data":{},"event_id":"s3cret"x}"#);
        assert!(!error.unwrap_err().to_string().contains("s3cret"));
        let error = Envelope::parse(br#"{"event_type":{"s3cret":1},"data":{}}"#);
        assert!(!error.unwrap_err().to_string().contains("s3cret"));
    }
}
