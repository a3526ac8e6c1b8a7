//! One page of a user's stream, and what it shows about what is missing before it.

use crate::protocol::{Frame, Position};

/// Most entries read at once: enough for most gaps, and small enough that the answer for a batch
/// of users stays in the megabytes.
pub(super) const PAGE_ENTRIES: usize = 64;

/// A part of a user's stream.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct Page {
    /// Whether the stream still has everything after the position. Entries go oldest first, so
    /// that an entry at the position shows it. A position without an entry shows nothing: what
    /// stood between may have been trimmed, flushed, or lost in a failover.
    pub reaches_back: bool,
    /// Whether the stream has nothing at the position or after it.
    pub is_empty: bool,
    /// The notifications after the position.
    pub frames: Vec<Frame>,
    /// Where to read on.
    pub newest: Position,
    /// Whether there may be more.
    pub more: bool,
    /// Entries that are no notification.
    pub malformed: usize,
}

impl Page {
    /// Judges the entries at `after` and behind it, as far as they were read.
    pub(super) fn new(
        after: Position,
        entries: Vec<(Position, Option<Frame>)>,
        mark: Option<&str>,
    ) -> Self {
        let first = entries.first().map(|(first, _)| *first);
        let reaches_back =
            if after.is_start() { is_first(first, after, mark) } else { first == Some(after) };
        let newest = entries.last().map_or(after, |(last, _)| *last);
        let (is_empty, more) = (entries.is_empty(), entries.len() >= PAGE_ENTRIES);
        let missed = entries.into_iter().filter(|(position, _)| *position > after);
        let frames: Vec<Option<Frame>> = missed.map(|(_, frame)| frame).collect();
        let malformed = frames.iter().filter(|frame| frame.is_none()).count();
        let frames = frames.into_iter().flatten().collect();
        Self { reaches_back, is_empty, frames, newest, more, malformed }
    }
}

/// Whether `first` is the first entry that ever came after `start`, a position without history.
/// The mark of the user says so: `<start>` while there was none, `<start> <first>` since.
fn is_first(first: Option<Position>, start: Position, mark: Option<&str>) -> bool {
    let Some(mark) = mark else { return false };
    let (marked, began) = match mark.split_once(' ') {
        Some((marked, began)) => (marked, Some(began)),
        None => (mark, None),
    };
    marked.parse() == Ok(start) && began.map(str::parse).transpose() == Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        text.parse().unwrap()
    }

    fn page(after: &str, stream: &[&str]) -> Page {
        marked(after, stream, None)
    }

    fn marked(after: &str, stream: &[&str], mark: Option<&str>) -> Page {
        let after = position(after);
        let entries = stream.iter().map(|id| position(id)).filter(|id| *id >= after);
        let read = |id| (id, Frame::stored(id, "{\"event\":1}"));
        Page::new(after, entries.map(read).collect(), mark)
    }

    fn ids(page: &Page) -> Vec<String> {
        page.frames.iter().map(|frame| frame.position.unwrap().to_string()).collect()
    }

    #[test]
    fn a_stream_that_still_has_the_position_reaches_back() {
        let page = page("2-0", &["1-0", "2-0", "2-1", "3-0"]);
        assert!(page.reaches_back && !page.more);
        assert_eq!(ids(&page), ["2-1", "3-0"]);
        assert_eq!(page.newest, position("3-0"));
    }

    #[test]
    fn the_newest_position_has_missed_nothing() {
        let page = page("3-0", &["1-0", "3-0"]);
        assert!(page.reaches_back && page.frames.is_empty() && !page.is_empty);
    }

    #[test]
    fn nothing_is_shown_by_a_position_without_an_entry() {
        // Trimmed, ahead of the stream, lost in a failover, gone, and never there.
        for (after, stream) in [
            ("1-0", &["2-0", "3-0"][..]),
            ("9-0", &["2-0", "3-0"]),
            ("2-5", &["2-0", "3-0"]),
            ("2-0", &[]),
            ("0-0", &["2-0"]),
            ("0-0", &[]),
        ] {
            assert!(!page(after, stream).reaches_back, "{after} in {stream:?}");
        }
        assert_eq!(ids(&page("1-0", &["2-0", "3-0"])), ["2-0", "3-0"]);
        assert!(page("9-0", &["2-0"]).is_empty);
    }

    #[test]
    fn a_user_without_history_resumes_as_long_as_the_mark_shows_the_first_entry() {
        for (stream, mark) in
            [(&[][..], "0-7"), (&["5-0"], "0-7 5-0"), (&["5-0", "6-0"], "0-7 5-0")]
        {
            assert!(marked("0-7", stream, Some(mark)).reaches_back, "{stream:?} {mark}");
        }
        for (stream, mark) in [
            // The first entry was trimmed; the stream was lost, and began anew.
            (&["6-0"][..], Some("0-7 5-0")),
            (&[], Some("0-7 5-0")),
            // Lost with the mark; somebody else's mark; a stream that the mark knows nothing of.
            (&[], None),
            (&[], Some("0-8")),
            (&["5-0"], Some("0-8 5-0")),
            (&["5-0"], Some("0-7")),
            (&["5-0"], Some("0-7 x")),
        ] {
            assert!(!marked("0-7", stream, mark).reaches_back, "{stream:?} {mark:?}");
        }
    }

    #[test]
    fn a_full_page_is_read_on_from_its_end() {
        let entries = |n| (1..=n).map(|seq| (position(&format!("1-{seq}")), None)).collect();
        let page = Page::new(position("1-1"), entries(PAGE_ENTRIES), None);
        assert!(page.more && page.malformed == PAGE_ENTRIES - 1);
        assert_eq!(page.newest, position(&format!("1-{PAGE_ENTRIES}")));
        assert!(!Page::new(position("1-1"), entries(PAGE_ENTRIES - 1), None).more);
    }
}
