//! The recipient of a notification. Every [`UserId`] is valid by construction and cheap to clone.

use std::{fmt, sync::Arc};

/// A user id: 1 to 256 characters without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

/// The error for a text that is not a user id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user id has 1 to {} characters and no control characters", UserId::MAX_CHARS)]
pub struct InvalidUserId;

impl UserId {
    /// Maximum length in characters; bounds the length of every key and channel name.
    pub const MAX_CHARS: usize = 256;

    /// Validates and copies `id`.
    ///
    /// # Errors
    /// [`InvalidUserId`] if `id` is empty, too long or contains a control character.
    pub fn new(id: &str) -> Result<Self, InvalidUserId> {
        // Checking the byte length first keeps a huge id from being scanned.
        let bounded = !id.is_empty() && id.len() <= Self::MAX_CHARS * char::MAX.len_utf8();
        let valid =
            bounded && id.chars().count() <= Self::MAX_CHARS && !id.chars().any(char::is_control);
        if valid { Ok(Self(id.into())) } else { Err(InvalidUserId) }
    }

    /// Returns the id as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_contain_anything_but_control_characters() {
        for id in ["teacher-42", "a:*{}?[]", "Åsa Öberg", "😀", " "] {
            assert_eq!(UserId::new(id).unwrap().as_str(), id);
        }
        for id in ["", "a\r\nb", "nul\0", "del\u{7f}", "c1\u{85}"] {
            assert_eq!(UserId::new(id), Err(InvalidUserId), "{id:?}");
        }
    }

    #[test]
    fn the_length_limit_counts_characters() {
        assert!(UserId::new(&"Å".repeat(256)).is_ok());
        assert!(UserId::new(&"Å".repeat(257)).is_err());
        assert!(UserId::new(&"a".repeat(100_000)).is_err());
    }
}
