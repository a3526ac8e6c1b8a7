//! The last notifications that a connection was sent. One that Redis has lost is published again
//! under another id; a connection that has received it is not sent it a second time. It is marked
//! `restored`, unless a worker was killed before it had committed the event.

use std::collections::VecDeque;

use crate::protocol::Frame;

/// The bytes for notifications that were sent once, and for restored ones: 512 each, more than the
/// history of a user has by default.
const MAX_BYTES: usize = 5 << 10;
const MAX_HASHES: usize = MAX_BYTES / (size_of::<u64>() + size_of::<u16>());

/// The notifications that a connection was sent. Allocates nothing before the first one.
#[derive(Debug, Default)]
pub(super) struct RecentFrames(Option<Box<Known>>);

#[derive(Debug, Default)]
struct Known {
    sent: Hashes,
    /// Apart from the others: a long restore would make the connection forget those that are
    /// restored next.
    restored: Hashes,
}

/// Hashes in the order of sending.
#[derive(Debug, Default)]
struct Hashes {
    hashes: VecDeque<u64>,
    /// A part of each hash: a search takes a quarter of the time.
    parts: VecDeque<u16>,
}

impl RecentFrames {
    /// Adds a frame; returns false if it is known.
    pub(super) fn insert(&mut self, frame: &Frame) -> bool {
        let Some(hash) = frame.content_hash else { return true };
        let known = &mut **self.0.get_or_insert_default();
        if known.sent.contains(hash) || known.restored.contains(hash) {
            return false;
        }
        let hashes = if frame.is_restored { &mut known.restored } else { &mut known.sent };
        hashes.push(hash);
        true
    }

    /// Removes a frame.
    pub(super) fn remove(&mut self, frame: &Frame) {
        if let (Some(hash), Some(known)) = (frame.content_hash, &mut self.0) {
            known.sent.remove(hash);
            known.restored.remove(hash);
        }
    }
}

impl Hashes {
    fn contains(&self, hash: u64) -> bool {
        self.parts.contains(&part(hash)) && self.hashes.contains(&hash)
    }

    fn push(&mut self, hash: u64) {
        if self.hashes.len() == MAX_HASHES {
            self.hashes.pop_front();
            self.parts.pop_front();
        }
        self.hashes.push_back(hash);
        self.parts.push_back(part(hash));
    }

    fn remove(&mut self, hash: u64) {
        if self.contains(hash) {
            self.hashes.retain(|known| *known != hash);
            self.parts = self.hashes.iter().map(|hash| part(*hash)).collect();
        }
    }
}

/// Returns the best mixed bits of a hash.
fn part(hash: u64) -> u16 {
    (hash >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(start: &str, event: usize) -> Frame {
        let rest = r#""category":"c","priority":"high","timestamp":"2026-01-01T00:00:00Z""#;
        let text = format!(r#"{{"id":"{start},"event":"e",{rest},"data":{event}}}"#);
        Frame::published(text.into())
    }

    fn restored(event: usize) -> Frame {
        frame(r#"9-0","restored":true"#, event)
    }

    #[test]
    fn a_restored_notification_is_known_under_another_id() {
        let mut recent = RecentFrames::default();
        assert!(recent.insert(&frame(r#"1-0""#, 1)) && recent.insert(&frame(r#"2-0""#, 2)));
        assert!(!recent.insert(&restored(1)));
        assert!(recent.insert(&restored(3)) && !recent.insert(&restored(3)));
        assert!(!recent.insert(&frame(r#"10-0""#, 3)), "not marked, as its worker was killed");
        let other_publisher = Frame::published(r#"{"event":"e"}"#.into());
        assert!(recent.insert(&other_publisher) && recent.insert(&other_publisher));
    }

    #[test]
    fn a_restore_of_more_than_is_remembered_repeats_only_what_was_forgotten() {
        let (mut recent, sent) = (RecentFrames::default(), MAX_HASHES + 20);
        for event in 0..sent {
            assert!(recent.insert(&frame(r#"1-0""#, event)));
        }
        let repeated = (0..sent).filter(|event| recent.insert(&restored(*event)));
        assert_eq!(repeated.count(), 20);
        let known = recent.0.expect("frames are known");
        assert_eq!((known.sent.hashes.len(), known.restored.hashes.len()), (MAX_HASHES, 20));
    }

    #[test]
    fn the_number_of_restored_notifications_is_bounded() {
        let mut recent = RecentFrames::default();
        for event in 0..=MAX_HASHES {
            assert!(recent.insert(&restored(event)));
        }
        assert!(recent.insert(&restored(0)), "the oldest is forgotten");
        assert_eq!(recent.0.map(|known| known.restored.hashes.len()), Some(MAX_HASHES));
    }

    #[test]
    fn a_removed_notification_is_not_known() {
        let mut recent = RecentFrames::default();
        for sent in [frame(r#"1-0""#, 1), restored(2)] {
            assert!(recent.insert(&sent));
            recent.remove(&sent);
            assert!(recent.insert(&sent));
        }
    }
}
