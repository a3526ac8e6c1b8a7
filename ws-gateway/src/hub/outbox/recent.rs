//! The last notifications that a connection was sent. One that Redis has lost is published again
//! under another id; a connection that has received it is not sent it a second time. It is marked
//! `restored`, unless a worker was killed before it had committed the event.

use memchr::memchr_iter;

use crate::protocol::Frame;

/// The number of notifications that were sent once, and of restored ones, 9 bytes each: more than
/// the history of a user has by default.
const MAX_HASHES: usize = 512;

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

/// The last hashes, in a ring.
#[derive(Debug, Default)]
struct Hashes {
    values: Vec<u64>,
    /// The first byte of each hash: these are searched at once.
    bytes: Vec<u8>,
    /// The index of the oldest hash, which the next one replaces if there is no room.
    oldest: usize,
}

impl RecentFrames {
    /// Adds a frame; returns false if it is known.
    pub(super) fn insert(&mut self, frame: &Frame) -> bool {
        let known = frame.content_hash.zip(self.0.as_ref());
        let is_known = known.is_some_and(|(hash, known)| {
            known.sent.find(hash).or_else(|| known.restored.find(hash)).is_some()
        });
        if !is_known {
            self.add(frame);
        }
        !is_known
    }

    /// Adds a frame, once more if it is known: the queue may have it too, and drop it.
    pub(super) fn add(&mut self, frame: &Frame) {
        if let Some(hash) = frame.content_hash {
            self.0.get_or_insert_default().of(frame).push(hash);
        }
    }

    /// Removes a frame that was added and is not sent.
    pub(super) fn remove(&mut self, frame: &Frame) {
        if let (Some(hash), Some(known)) = (frame.content_hash, &mut self.0) {
            known.of(frame).remove(hash);
        }
    }
}

impl Known {
    fn of(&mut self, frame: &Frame) -> &mut Hashes {
        if frame.is_restored { &mut self.restored } else { &mut self.sent }
    }
}

impl Hashes {
    fn find(&self, hash: u64) -> Option<usize> {
        memchr_iter(first_byte(hash), &self.bytes).find(|index| self.values[*index] == hash)
    }

    fn push(&mut self, hash: u64) {
        if self.values.len() < MAX_HASHES {
            self.values.push(hash);
            self.bytes.push(first_byte(hash));
        } else {
            self.values[self.oldest] = hash;
            self.bytes[self.oldest] = first_byte(hash);
            self.oldest = (self.oldest + 1) % MAX_HASHES;
        }
    }

    fn remove(&mut self, hash: u64) {
        let oldest = std::mem::take(&mut self.oldest);
        self.values.rotate_left(oldest);
        self.bytes.rotate_left(oldest);
        if let Some(index) = self.find(hash) {
            self.values.remove(index);
            self.bytes.remove(index);
        }
    }
}

/// Returns the best mixed byte of a hash.
fn first_byte(hash: u64) -> u8 {
    hash.to_be_bytes()[0]
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
        assert_eq!((known.sent.values.len(), known.restored.values.len()), (MAX_HASHES, 20));
    }

    #[test]
    fn the_number_of_restored_notifications_is_bounded() {
        let mut recent = RecentFrames::default();
        for event in 0..=MAX_HASHES {
            assert!(recent.insert(&restored(event)));
        }
        assert!(recent.insert(&restored(0)), "the oldest is forgotten");
        assert_eq!(recent.0.map(|known| known.restored.values.len()), Some(MAX_HASHES));
    }

    #[test]
    fn the_oldest_is_forgotten_also_after_one_was_removed() {
        let mut recent = RecentFrames::default();
        for event in 0..MAX_HASHES + 2 {
            assert!(recent.insert(&frame(r#"1-0""#, event)));
        }
        recent.remove(&frame(r#"1-0""#, 5));
        assert!(recent.insert(&restored(5)) && recent.insert(&frame(r#"1-0""#, MAX_HASHES + 2)));
        assert!(!recent.insert(&restored(2)), "there was room for the last one");
        assert!(recent.insert(&frame(r#"1-0""#, MAX_HASHES + 3)));
        assert!(recent.insert(&restored(2)) && !recent.insert(&restored(3)));
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

    #[test]
    fn a_frame_that_the_history_has_too_is_known_after_the_queue_has_dropped_it() {
        let mut recent = RecentFrames::default();
        let (both, lost) = (frame(r#"1-0""#, 1), frame(r#"2-0""#, 2));
        assert!(recent.insert(&both) && recent.insert(&lost));
        recent.add(&both);
        recent.remove(&both);
        recent.remove(&lost);
        assert!(!recent.insert(&restored(1)) && recent.insert(&restored(2)));
    }
}
