//! How far each partition is done. Records may finish out of order; what may be committed is
//! the end of the unbroken row of finished ones. Knows nothing of how offsets are stored.

use std::collections::{HashMap, VecDeque};

/// A partition of a topic.
pub type Partition = (String, i32);

/// Says that a record was read under a certain assignment of its partition; after the partition
/// has been taken away, what was read under it no longer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease(u64);

/// The records of all assigned partitions that are not yet finished.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: HashMap<String, HashMap<i32, Open>>,
    last_lease: u64,
}

/// The open end of one partition.
#[derive(Debug)]
struct Open {
    lease: Lease,
    /// Offsets in the order they were read, and whether each is finished. The first is not.
    records: VecDeque<(i64, bool)>,
    /// The last offset of the unbroken row, once it has grown.
    done: Option<i64>,
}

impl Offsets {
    /// Notes that a record has been read.
    pub fn read(&mut self, topic: &str, partition: i32, offset: i64) -> Lease {
        let open = self.topics.get_mut(topic).and_then(|open| open.get_mut(&partition));
        if let Some(open) = open {
            open.records.push_back((offset, false));
            return open.lease;
        }
        self.last_lease += 1;
        let lease = Lease(self.last_lease);
        let open = Open { lease, records: VecDeque::from([(offset, false)]), done: None };
        self.topics.entry(topic.to_owned()).or_default().insert(partition, open);
        lease
    }

    /// Notes that a record is finished.
    pub fn finish(&mut self, topic: &str, partition: i32, offset: i64, lease: Lease) {
        let open = self.topics.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition));
        let Some(open) = open.filter(|open| open.lease == lease) else { return };
        // Nearly always it is the first.
        if let Some(record) = open.records.iter_mut().find(|(read, _)| *read == offset) {
            record.1 = true;
        }
        while let Some((offset, true)) = open.records.front().copied() {
            open.records.pop_front();
            open.done = Some(offset);
        }
    }

    /// For each partition that got further since the last call, its last finished offset.
    pub fn take_done(&mut self) -> Vec<(&str, i32, i64)> {
        let mut all = Vec::new();
        for (topic, partitions) in &mut self.topics {
            for (partition, open) in partitions {
                all.extend(open.done.take().map(|offset| (topic.as_str(), *partition, offset)));
            }
        }
        all
    }

    /// Whether a record read under `lease` still counts.
    #[must_use]
    pub fn is_valid(&self, topic: &str, partition: i32, lease: Lease) -> bool {
        let open = self.topics.get(topic).and_then(|partitions| partitions.get(&partition));
        open.is_some_and(|open| open.lease == lease)
    }

    /// Whether some record of a partition is not finished.
    #[must_use]
    pub fn is_in_flight(&self, (topic, partition): &Partition) -> bool {
        let open = self.topics.get(topic).and_then(|partitions| partitions.get(partition));
        open.is_some_and(|open| !open.records.is_empty())
    }

    /// Forgets a partition that has been taken away.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.remove(&partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unbroken_row_is_done() {
        let mut offsets = Offsets::default();
        let lease = offsets.read("t", 0, 5);
        for offset in [6, 9] {
            assert_eq!(offsets.read("t", 0, offset), lease);
        }
        offsets.finish("t", 0, 6, lease);
        assert!(offsets.take_done().is_empty());
        offsets.finish("t", 0, 5, lease);
        assert_eq!(offsets.take_done(), [("t", 0, 6)]);
        assert!(offsets.take_done().is_empty());
        assert!(offsets.is_in_flight(&("t".to_owned(), 0)));
        offsets.finish("t", 0, 9, lease);
        assert_eq!(offsets.take_done(), [("t", 0, 9)]);
        assert!(!offsets.is_in_flight(&("t".to_owned(), 0)));
    }

    #[test]
    fn what_was_read_before_a_partition_was_taken_away_no_longer_counts() {
        let mut offsets = Offsets::default();
        let old = offsets.read("t", 0, 5);
        offsets.forget("t", 0);
        assert!(!offsets.is_valid("t", 0, old));
        let new = offsets.read("t", 0, 5);
        assert_ne!(old, new);
        offsets.finish("t", 0, 5, old);
        assert!(offsets.take_done().is_empty());
        offsets.finish("t", 0, 5, new);
        assert_eq!(offsets.take_done(), [("t", 0, 5)]);
    }

    #[test]
    fn partitions_do_not_wait_for_each_other() {
        let mut offsets = Offsets::default();
        let first = offsets.read("t", 0, 1);
        let second = offsets.read("t", 1, 1);
        offsets.finish("t", 1, 1, second);
        assert_eq!(offsets.take_done(), [("t", 1, 1)]);
        offsets.finish("t", 0, 1, first);
        assert_eq!(offsets.take_done(), [("t", 0, 1)]);
    }
}
