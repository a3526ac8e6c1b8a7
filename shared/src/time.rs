//! Timestamps: producers send RFC 3339 with any offset, or without one, which means UTC. A
//! [`Timestamp`] serialises as UTC with `Z` and the shortest fraction.

use std::{borrow::Cow, time::Duration};

pub use jiff::Timestamp;
use jiff::{civil::DateTime, tz::Offset};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The JSON Schema of a serialised [`Timestamp`].
#[derive(Debug)]
pub struct TimestampSchema;

impl JsonSchema for TimestampSchema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// Parses a timestamp; `None` if `text` is not one.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let naive: DateTime = text.parse().ok()?;
        Offset::UTC.to_timestamp(naive).ok()
    })
}

/// Returns the whole milliseconds of a duration; one that is longer than can be counted is the
/// longest that can.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_and_precision_is_written_as_the_shortest_utc_form() {
        for (text, expected) in [
            ("2025-08-06T09:15:31.000000Z", "2025-08-06T09:15:31Z"),
            ("2025-08-06T09:15:30.123456", "2025-08-06T09:15:30.123456Z"),
            ("2025-08-06T09:15:30.123456+00:00", "2025-08-06T09:15:30.123456Z"),
            ("2025-08-06T11:15:30.1+02:00", "2025-08-06T09:15:30.1Z"),
            ("2025-08-06T09:15:30.123456789Z", "2025-08-06T09:15:30.123456789Z"),
            ("2025-08-06T09:15:30", "2025-08-06T09:15:30Z"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn invalid_timestamps_are_none() {
        for text in ["", "soon", "2025-13-01T00:00:00Z", "1754471730", "2025-08-06T25:00:00Z"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
