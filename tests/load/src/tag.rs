//! The tag inside a text field of each load event: run, sequence number and scheduled time. The
//! system under test passes that field on unchanged.

/// Identifies the events of one run.
#[derive(Clone, Debug)]
pub struct RunId {
    /// What the tag of each event of the run begins with.
    prefix: String,
}

/// Identifies one event and its scheduled time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTag {
    /// Sequence number among the events of one user, from 0.
    pub number: u64,
    /// Scheduled time; see [`now`](super::now).
    pub due: u64,
}

impl RunId {
    /// A run named by letters and digits.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { prefix: format!("load:{name}:") }
    }

    /// Returns the text of a tag.
    #[must_use]
    pub fn encode(&self, EventTag { number, due }: EventTag) -> String {
        format!("{}{number}:{due};", self.prefix)
    }

    /// Finds a tag of this run in a text.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<EventTag> {
        let text = std::str::from_utf8(text).ok()?;
        let rest = &text[text.find(&self.prefix)? + self.prefix.len()..];
        let (number, rest) = rest.split_once(':')?;
        let (due, _) = rest.split_once(';')?;
        Some(EventTag { number: number.parse().ok()?, due: due.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_only_by_its_own_run() {
        let (run, other) = (RunId::new("ab12"), RunId::new("cd34"));
        let tag = EventTag { number: 7, due: 123_456 };
        let text = format!("{{\"data\":{{\"filename\":\"{}\"}}}}", run.encode(tag));
        assert_eq!(run.find(text.as_bytes()), Some(tag));
        assert_eq!(other.find(text.as_bytes()), None);
        assert_eq!(run.find(b"load:ab12:7"), None);
    }
}
