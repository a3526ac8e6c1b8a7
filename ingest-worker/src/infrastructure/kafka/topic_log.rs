//! What the client says of topics only in its log: the id of each, which shows that one was deleted
//! and created again, and leaders that it ignores. The scenarios of recreated topics fail if a new
//! version words that differently.

use std::{collections::BTreeSet, mem};

/// What was logged and not taken. The client holds locks of its own while it logs.
#[derive(Debug, Default)]
pub(super) struct TopicLog {
    ids: Vec<(String, String)>,
    ignored_leaders: BTreeSet<String>,
}

impl TopicLog {
    /// Notes a message.
    pub(super) fn logged(&mut self, facility: &str, message: &str) {
        if let Some((topic, id)) = topic_id(facility, message) {
            self.ids.push((topic.to_owned(), id.to_owned()));
        } else if let Some(topic) = ignored_leader(facility, message)
            && !self.ignored_leaders.contains(topic)
        {
            self.ignored_leaders.insert(topic.to_owned());
        }
    }

    /// Returns the topics whose ids have become known or have changed, each with its id.
    pub(super) fn take_ids(&mut self) -> Vec<(String, String)> {
        mem::take(&mut self.ids)
    }

    /// Returns the topics with a leader that the client has ignored, as its epoch is lower than the
    /// one that the client knows.
    pub(super) fn take_ignored_leaders(&mut self) -> BTreeSet<String> {
        mem::take(&mut self.ignored_leaders)
    }
}

/// Returns the topic, and its id, of a log message such as `[thrd:main]: Topic t changed id from A
/// to B`. The client logs it for the first id that it knows, too.
fn topic_id<'m>(facility: &str, message: &'m str) -> Option<(&'m str, &'m str)> {
    if facility != "METADATA" {
        return None;
    }
    let (topic, ids) = message.split_once("Topic ")?.1.split_once(" changed id from ")?;
    let (_, id) = ids.split_once(" to ")?;
    Some((topic, id))
}

/// Returns the topic of a log message such as `[thrd:main]: t [1]: ignoring outdated metadata update
/// with leader epoch 0 which is older than our cached epoch 2`.
fn ignored_leader<'m>(facility: &str, message: &'m str) -> Option<&'m str> {
    if facility != "BROKER" {
        return None;
    }
    let (partition, _) = message.split_once("]: ignoring outdated metadata update ")?;
    partition.rsplit_once(" [")?.0.rsplit(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_topic_is_taken_once() {
        let mut log = TopicLog::default();
        let message = "[thrd:main]: Topic a.b-1 changed id from AAAAAAAAAAAAAAAAAAAAAA to Zm9v-_";
        log.logged("METADATA", message);
        log.logged("TOPIC", message);
        assert_eq!(log.take_ids(), [("a.b-1".to_owned(), "Zm9v-_".to_owned())]);
        assert!(log.take_ids().is_empty());
    }

    #[test]
    fn a_leader_is_ignored_for_its_lower_epoch() {
        let mut log = TopicLog::default();
        log.logged("BROKER", "[thrd:main]: c [2]: leader 1 epoch 2 -> leader 1 epoch 2");
        let message = "[thrd:main]: a.b-1 [2]: ignoring outdated metadata update with leader epoch 0 \
                       which is older than our cached epoch 2";
        log.logged("BROKER", message);
        log.logged("BROKER", message);
        assert_eq!(log.take_ignored_leaders(), ["a.b-1".to_owned()].into());
        assert!(log.take_ignored_leaders().is_empty());
    }
}
