//! What a load event says of itself inside a text that passes unchanged: its run, its number
//! among its user's events, and when it was meant to be sent.

/// How the mark of any run begins.
const START: &str = "load:";

/// A run, by the mark that its events carry.
#[derive(Clone, Debug)]
pub struct Run {
    needle: String,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its number among its user's events, from 0.
    pub number: u64,
    /// When it was meant to be sent; see [`now`](super::now).
    pub due: u64,
}

impl Run {
    /// The run with a name of letters and digits.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { needle: format!("{START}{name}:") }
    }

    /// The text to put into an event.
    #[must_use]
    pub fn text(&self, Mark { number, due }: Mark) -> String {
        format!("{}{number}:{due};", self.needle)
    }

    /// The mark in a text, if it has one of this run.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<Mark> {
        let text = std::str::from_utf8(text).ok()?;
        let rest = &text[text.find(&self.needle)? + self.needle.len()..];
        let (number, rest) = rest.split_once(':')?;
        let (due, _) = rest.split_once(';')?;
        Some(Mark { number: number.parse().ok()?, due: due.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_by_its_own_run_alone() {
        let (run, other) = (Run::named("ab12"), Run::named("cd34"));
        let mark = Mark { number: 7, due: 123_456 };
        let text = format!("{{\"data\":{{\"filename\":\"{}\"}}}}", run.text(mark));
        assert_eq!(run.find(text.as_bytes()), Some(mark));
        assert_eq!(other.find(text.as_bytes()), None);
        assert_eq!(run.find(b"load:ab12:7"), None);
    }
}
