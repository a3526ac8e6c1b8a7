//! The last notifications that a connection was sent. One that Redis has lost is published again
//! under another id; a connection that has received it is not sent it a second time. It is marked
//! `restored`, unless a worker was killed before it had committed the event.

use std::collections::VecDeque;

use crate::protocol::Frame;

/// The number of notifications that are remembered for each connection, 10 bytes each: more than a
/// failover loses of one user within seconds.
const MAX_RECENT: usize = 128;

/// The notifications that a connection was sent. Allocates nothing before the first one.
#[derive(Debug, Default)]
pub(super) struct RecentFrames(Option<Box<Hashes>>);

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
        let part = part(hash);
        let Hashes { hashes, parts } = &mut **self.0.get_or_insert_default();
        if parts.contains(&part) && hashes.contains(&hash) {
            return false;
        }
        if hashes.len() == MAX_RECENT {
            hashes.pop_front();
            parts.pop_front();
        }
        hashes.push_back(hash);
        parts.push_back(part);
        true
    }

    /// Removes a frame.
    pub(super) fn remove(&mut self, frame: &Frame) {
        if let (Some(hash), Some(known)) = (frame.content_hash, &mut self.0) {
            known.hashes.retain(|known| *known != hash);
            known.parts = known.hashes.iter().map(|hash| part(*hash)).collect();
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
    fn the_number_of_notifications_is_bounded() {
        let mut recent = RecentFrames::default();
        for event in 0..=MAX_RECENT {
            assert!(recent.insert(&frame(r#"1-0""#, event)));
        }
        assert!(recent.insert(&restored(0)), "the oldest is forgotten");
        assert_eq!(recent.0.map(|known| known.hashes.len()), Some(MAX_RECENT));
    }
}
