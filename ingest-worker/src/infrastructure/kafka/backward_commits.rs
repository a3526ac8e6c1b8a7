//! Commits below the committed offset, after a partition was rewound: the client's periodic commit
//! leaves out offsets that are not above the last one it has committed. Once the client has
//! committed one below it, the periodic commit goes on from there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{Offset, TopicPartitionList};

use super::offsets::Partition;

/// Pause between two such commits of a partition, as between the client's own. They are repeated
/// until the client reports that one has succeeded.
const INTERVAL: Duration = Duration::from_secs(1);

/// The partitions that have not passed the position from which they were rewound.
#[derive(Debug, Default)]
pub(super) struct BackwardCommits(BTreeMap<Partition, Rewound>);

#[derive(Debug)]
struct Rewound {
    /// The committed offset may be as high as this.
    from: i64,
    next_commit: Instant,
    /// What is to be committed, until the broker has it.
    offset: Option<i64>,
}

impl BackwardCommits {
    pub(super) fn rewound(&mut self, partition: Partition, from: i64, now: Instant) {
        let from = self.0.get(&partition).map_or(from, |earlier| earlier.from.max(from));
        self.0.insert(partition, Rewound { from, next_commit: now, offset: None });
    }

    /// Notes that a partition below `from` is another log now, of which nothing is finished.
    pub(super) fn restarted(&mut self, partition: Partition, from: i64, now: Instant) {
        self.0.insert(partition, Rewound { from, next_commit: now, offset: Some(0) });
    }

    /// Notes what the broker has committed.
    pub(super) fn committed(&mut self, list: &TopicPartitionList) {
        if self.0.is_empty() {
            return;
        }
        for element in list.elements().iter().filter(|element| element.error().is_ok()) {
            let partition = (element.topic().to_owned(), element.partition());
            if let Some(rewound) = self.0.get_mut(&partition) {
                rewound.offset.take_if(|pending| element.offset() == Offset::Offset(*pending));
            }
        }
    }

    /// Returns the offsets that are to be committed again now.
    pub(super) fn take_repeated(&mut self, now: Instant) -> Vec<(Partition, i64)> {
        let due = self.0.iter_mut().filter(|(_, rewound)| rewound.next_commit <= now);
        let repeated = due.filter_map(|(partition, rewound)| {
            let offset = rewound.offset?;
            rewound.next_commit = now + INTERVAL;
            Some((partition.clone(), offset))
        });
        repeated.collect()
    }

    pub(super) fn revoked(&mut self, partition: &Partition) {
        self.0.remove(partition);
    }

    /// Returns whether `offset` is to be committed now besides the client's periodic commit.
    pub(super) fn is_due(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        now: Instant,
    ) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let partition = (topic.to_owned(), partition);
        let Some(rewound) = self.0.get_mut(&partition) else { return false };
        if offset > rewound.from {
            self.0.remove(&partition);
            return false;
        }
        rewound.offset = Some(offset);
        let is_due = rewound.next_commit <= now;
        if is_due {
            rewound.next_commit = now + INTERVAL;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewound_partition_commits_once_a_second_until_it_passes_its_former_position() {
        let (mut commits, start) = (BackwardCommits::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!commits.is_due("t", 0, 1, start));
        commits.rewound(("t".into(), 0), 100, start);
        commits.rewound(("t".into(), 0), 7, start);
        assert!(!commits.is_due("t", 1, 1, start));
        let due = [(1, 0), (2, 0), (3, 1), (100, 2), (101, 3), (102, 4), (1, 5)];
        let due = due.map(|(offset, seconds)| commits.is_due("t", 0, offset, at(seconds)));
        assert_eq!(due, [true, false, true, true, false, false, false]);
    }

    #[test]
    fn an_offset_is_committed_again_until_the_broker_has_it() {
        let (mut commits, start) = (BackwardCommits::default(), Instant::now());
        let (partition, at) = (("t".to_owned(), 0), |seconds| start + Duration::from_secs(seconds));
        commits.rewound(partition.clone(), 100, start);
        assert!(commits.take_repeated(start).is_empty());
        assert!(commits.is_due("t", 0, 7, start) && !commits.is_due("t", 0, 8, start));
        assert!(commits.take_repeated(start).is_empty());
        assert_eq!(commits.take_repeated(at(1)), [(partition.clone(), 8)]);
        let committed = |offset| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset("t", 0, Offset::Offset(offset)).expect("an offset");
            list
        };
        commits.committed(&committed(7));
        assert_eq!(commits.take_repeated(at(2)), [(partition.clone(), 8)]);
        commits.committed(&committed(8));
        assert!(commits.take_repeated(at(3)).is_empty());
    }

    #[test]
    fn the_beginning_of_a_topic_that_was_created_again_is_committed_before_anything_is_read() {
        let (mut commits, now) = (BackwardCommits::default(), Instant::now());
        commits.restarted(("t".into(), 0), 100, now);
        assert_eq!(commits.take_repeated(now), [(("t".to_owned(), 0), 0)]);
    }

    #[test]
    fn a_revoked_partition_is_committed_by_its_next_owner() {
        let (mut commits, now) = (BackwardCommits::default(), Instant::now());
        commits.rewound(("t".into(), 0), 100, now);
        commits.revoked(&("t".into(), 0));
        assert!(!commits.is_due("t", 0, 1, now));
    }
}
