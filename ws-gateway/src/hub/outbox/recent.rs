//! The last notifications that a connection was sent. One that Redis has lost is published again
//! under another id; a connection that has received it is not sent it a second time.

use std::collections::VecDeque;

use crate::protocol::Frame;

/// The number of notifications that are remembered for each connection, 8 bytes each: more than a
/// failover loses of one user within seconds.
const MAX_RECENT: usize = 128;

/// Hashes of notifications. Holds no buffer before the first one.
#[derive(Debug, Default)]
pub(super) struct RecentFrames(VecDeque<u64>);

impl RecentFrames {
    /// Adds a frame; returns false if it is a restored one that is known.
    pub(super) fn insert(&mut self, frame: &Frame) -> bool {
        let Some(hash) = frame.content_hash else { return true };
        if frame.is_restored && self.0.contains(&hash) {
            return false;
        }
        if self.0.len() == MAX_RECENT {
            self.0.pop_front();
        }
        self.0.push_back(hash);
        true
    }

    /// Removes a frame.
    pub(super) fn remove(&mut self, frame: &Frame) {
        if let Some(hash) = frame.content_hash {
            self.0.retain(|known| *known != hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(start: &str, event: usize) -> Frame {
        Frame::published(format!(r#"{{"id":"{start},"event":"e","data":{event}}}"#).into())
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
        assert_eq!(recent.0.len(), MAX_RECENT);
    }
}
