//! A position in a user's stream: the id that Redis assigned to an entry, and that a client
//! resumes from. Later entries have greater positions.

use std::{
    borrow::Cow,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The id of a stream entry, `<milliseconds>-<sequence>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    ms: u64,
    seq: u64,
}

impl Position {
    /// Before every entry.
    pub const START: Self = Self { ms: 0, seq: 0 };

    /// Returns the position that `text` begins with, and what follows it.
    pub(super) fn split_from(text: &str) -> Option<(Self, &str)> {
        let (ms, rest) = leading_number(text)?;
        let (seq, rest) = leading_number(rest.strip_prefix('-')?)?;
        Some((Self { ms, seq }, rest))
    }

    /// Returns how long ago Redis assigned it, in seconds; 0 if Redis's clock is ahead.
    #[must_use]
    pub(crate) fn age(self, now: SystemTime) -> f64 {
        let assigned = Duration::from_millis(self.ms);
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(assigned).as_secs_f64()
    }

    /// Returns the time at which Redis assigned it, in milliseconds since 1970.
    #[must_use]
    pub(crate) fn ms(self) -> u64 {
        self.ms
    }
}

/// The text is not a position.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position has the form 1754471730123-0")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        match Self::split_from(text) {
            Some((position, "")) => Ok(position),
            _ => Err(InvalidPosition),
        }
    }
}

/// Returns the number that a text begins with, and what follows it. Each frame's position is read
/// with it, in a third of the instructions of `split_once` and `parse`.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let (mut number, mut length) = (0_u64, 0);
    while let Some(digit @ b'0'..=b'9') = text.as_bytes().get(length) {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        length += 1;
    }
    (length > 0).then_some((number, &text[length..]))
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl JsonSchema for Position {
    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A position in a user's stream, that a client resumes from",
            "type": "string",
            "pattern": "^[0-9]+-[0-9]+$",
        })
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_as_numbers_and_keep_their_text() {
        let earlier: Position = "9-10".parse().unwrap();
        let later: Position = "10-9".parse().unwrap();
        assert!(Position::START < earlier && earlier < later);
        assert_eq!(later.to_string(), "10-9");
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-0",
            "1-+0",
            "1-0-0",
            "1-0 ",
            "$",
            "18446744073709551616-0",
        ] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
