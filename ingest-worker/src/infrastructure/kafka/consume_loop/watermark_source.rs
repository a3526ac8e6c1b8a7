//! The names of a partition's watermark. They hold the id of the topic, so that neither a topic
//! that was created again nor one of another cluster is taken for this one.

use std::sync::Arc;

use super::watermark_value::Position;
use crate::notification::{
    loss_time::LossTime,
    publisher::{StoredWatermark, Watermark},
};

/// The names of a partition's watermark.
#[derive(Clone, Debug)]
pub(super) struct WatermarkSource {
    /// The id of the topic, if it is known.
    pub(super) topic_id: Option<String>,
    /// The name under which it is written.
    pub(super) name: Arc<str>,
    /// The name of values that were written without knowing the id.
    pub(super) without_id: Arc<str>,
}

impl WatermarkSource {
    pub(super) fn new(group: &str, topic: &str, partition: i32, topic_id: Option<&str>) -> Self {
        Self {
            topic_id: topic_id.map(str::to_owned),
            name: Watermark::source_of(group, topic, partition, topic_id),
            without_id: Watermark::source_of(group, topic, partition, None),
        }
    }
}

/// What the servers hold of a partition's watermark; nothing if they refuse to be read.
#[derive(Debug)]
pub(super) struct ReadWatermark {
    pub(super) source: WatermarkSource,
    pub(super) stored: StoredWatermark,
    /// What they hold under the name without the topic's id.
    pub(super) without_id: StoredWatermark,
    /// Since when they have kept what was published.
    pub(super) since: StoredWatermark,
    /// A time just before they were read, in milliseconds by the clock of the servers.
    pub(super) at: i64,
}

impl ReadWatermark {
    /// Returns the highest position of each server: each holds for everything before it.
    pub(super) fn highest(&self) -> Vec<Option<String>> {
        let topic_id = self.source.topic_id.as_deref();
        let highest = |(key, value): (&Arc<str>, &Option<String>)| {
            let other = self.without_id.get(key).and_then(Option::as_deref);
            let position = |value: &&str| {
                Position::of(value).filter(|p| !p.is_of_other_topic(topic_id)).map(|p| p.next)
            };
            let values = other.into_iter().chain(value.as_deref());
            values.filter(|v| position(v).is_some()).max_by_key(position).map(str::to_owned)
        };
        self.stored.iter().map(highest).collect()
    }

    /// Returns when the servers that have no position lost theirs, or a time after that: everything
    /// that a worker has published there since then is newer.
    pub(super) fn lost_before(&self) -> i64 {
        let lost = self.stored.keys().zip(self.highest()).filter(|(_, value)| value.is_none());
        let since = |key: &Arc<str>| self.since.get(key)?.as_deref()?.parse().ok();
        lost.filter_map(|(key, _)| since(key)).min().unwrap_or(self.at)
    }

    /// Returns what is known of losses: a server without a position had lost its data before, the
    /// others had theirs.
    pub(super) fn loss_time(&self) -> LossTime {
        if self.highest().iter().any(Option::is_none) {
            LossTime::NoticedAt(self.lost_before())
        } else {
            LossTime::IntactUntil(self.at)
        }
    }

    /// Returns the position before which a former owner has finished the records of the partition,
    /// also if it has rewound the partition since.
    pub(super) fn reread_until(&self) -> Option<i64> {
        let topic_id = self.source.topic_id.as_deref();
        let values = self.stored.values().chain(self.without_id.values()).flatten();
        let positions = values.filter_map(|value| Position::of(value));
        let of_this_topic = positions.filter(|position| !position.is_of_other_topic(topic_id));
        let rewound = of_this_topic.filter_map(|position| position.reread_until).max();
        let next = |value: &Option<String>| Some(Position::of(value.as_deref()?)?.next);
        let finished = self.highest().iter().map(next).min().flatten();
        rewound.max(finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_position_of_this_topic_counts() {
        let server = |value: &str| -> StoredWatermark {
            [("server".into(), Some(value.to_owned()).filter(|v| !v.is_empty()))].into()
        };
        for (stored, without_id, expected) in [
            ("", "", None),
            ("a.1 7 at 5", "", Some("a.1 7 at 5")),
            ("a.1 7 at 5", "b.1 6 topic-id present at 4", Some("a.1 7 at 5")),
            ("a.1 7 at 5", "b 9 at 6", Some("b 9 at 6")),
            ("", "b.1 6 topic-id present at 4", Some("b.1 6 topic-id present at 4")),
            ("", "b.1 6 topic-id former at 4", None),
        ] {
            let source = WatermarkSource::new("g", "t", 0, Some("present"));
            let (stored, without_id) = (server(stored), server(without_id));
            let read = ReadWatermark { source, stored, without_id, since: [].into(), at: 0 };
            assert_eq!(read.highest(), [expected.map(str::to_owned)]);
        }
    }

    #[test]
    fn only_servers_that_have_no_position_say_when_they_lost_it() {
        let servers = |values: [&str; 2]| -> StoredWatermark {
            let value = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
            ["0", "1"].map(Arc::from).into_iter().zip(values.map(value)).collect()
        };
        for (stored, since, expected) in [
            (["", ""], ["3", "2"], 2),
            (["", ""], ["3", ""], 3),
            (["", "a.1 7 at 5"], ["3", "2"], 3),
            (["", "a.1 7 at 5"], ["", "2"], 9),
            (["", ""], ["no time", ""], 9),
        ] {
            let source = WatermarkSource::new("g", "t", 0, None);
            let (without_id, since) = (servers(["", ""]), servers(since));
            let read = ReadWatermark { source, stored: servers(stored), without_id, since, at: 9 };
            assert_eq!(read.lost_before(), expected);
            // It had lost its data before it was read.
            assert_eq!(read.loss_time(), LossTime::NoticedAt(expected));
        }
    }

    #[test]
    fn what_every_server_has_is_finished_and_what_is_before_a_rewind_too() {
        for (values, expected) in [
            (&["a.1 7 at 5"][..], Some(7)),
            (&["a.1 7 at 5", "a.1 6 at 5"], Some(6)),
            (&["a.1 7 at 5", ""], None),
            (&["a.1 7 at 5", "a.1 2 reread-until 9 at 5"], Some(9)),
            (&[], None),
        ] {
            let stored = |(key, value): (usize, &&str)| {
                (key.to_string().into(), Some((*value).to_owned()).filter(|v| !v.is_empty()))
            };
            let stored: StoredWatermark = values.iter().enumerate().map(stored).collect();
            let source = WatermarkSource::new("g", "t", 0, Some("present"));
            let read =
                ReadWatermark { source, stored, without_id: [].into(), since: [].into(), at: 0 };
            assert_eq!(read.reread_until(), expected, "{values:?}");
        }
    }
}
