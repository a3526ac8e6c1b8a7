//! Commits below the committed offset, after a partition was rewound: the client's periodic commit
//! leaves out offsets that are not above the last one it has committed. Once the client has
//! committed one below it, the periodic commit goes on from there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::offsets::Partition;

/// Pause between two such commits of a partition, as between the client's own. The client reports
/// no result, so they are repeated.
const INTERVAL: Duration = Duration::from_secs(1);

/// The partitions that have not passed the position from which they were rewound.
#[derive(Debug, Default)]
pub(super) struct BackwardCommits(BTreeMap<Partition, Rewound>);

#[derive(Debug)]
struct Rewound {
    /// The committed offset may be as high as this.
    from: i64,
    next_commit: Instant,
}

impl BackwardCommits {
    pub(super) fn rewound(&mut self, partition: Partition, from: i64, now: Instant) {
        let from = self.0.get(&partition).map_or(from, |earlier| earlier.from.max(from));
        self.0.insert(partition, Rewound { from, next_commit: now });
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
    fn a_revoked_partition_is_committed_by_its_next_owner() {
        let (mut commits, now) = (BackwardCommits::default(), Instant::now());
        commits.rewound(("t".into(), 0), 100, now);
        commits.revoked(&("t".into(), 0));
        assert!(!commits.is_due("t", 0, 1, now));
    }
}
