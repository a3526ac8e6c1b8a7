//! What is not read yet.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use rdkafka::{Message as _, message::BorrowedMessage};

use crate::infrastructure::kafka::offsets::Partition;

/// The offsets that are not read, by topic and partition.
#[derive(Debug, Default)]
pub(super) struct Unread(HashMap<String, HashMap<i32, Range<i64>>>);

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, (topic, partition): &Partition, extent: Range<i64>) {
        self.0.entry(topic.clone()).or_default().insert(*partition, extent);
    }

    /// Returns what is not read of each partition, in the order of their names.
    pub(super) fn extents(&self) -> BTreeMap<Partition, Range<i64>> {
        let all = self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(id, extent)| ((topic.clone(), *id), extent.clone()))
        });
        all.collect()
    }

    /// Returns whether a record is before the end of its partition.
    pub(super) fn take(&mut self, record: &BorrowedMessage<'_>) -> bool {
        let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
        let partitions = self.0.get_mut(topic);
        let Some(extent) = partitions.and_then(|p| p.get_mut(&partition)) else { return false };
        let (next, end) = (offset + 1, extent.end);
        extent.start = next;
        if next >= end {
            self.remove(&(topic.to_owned(), partition));
        }
        offset < end
    }

    /// Removes the partitions that are fetched up to their end and have no unread records.
    pub(super) fn remove_read(&mut self, positions: &BTreeMap<Partition, i64>) {
        for (partition, position) in positions {
            let extent = self.0.get(&partition.0).and_then(|ends| ends.get(&partition.1));
            if extent.is_some_and(|extent| *position >= extent.end) {
                self.remove(partition);
            }
        }
    }

    pub(super) fn remove(&mut self, (topic, partition): &Partition) {
        let Some(partitions) = self.0.get_mut(topic) else { return };
        partitions.remove(partition);
        if partitions.is_empty() {
            self.0.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_whose_last_offset_has_no_record_is_read_once_it_is_fetched_up_to_its_end() {
        let mut unread = Unread::default();
        let of = |topic: &str, partition| (topic.to_owned(), partition);
        for (topic, partition, end) in [("a", 0, 7), ("a", 1, 7), ("b", 0, 9)] {
            unread.insert(&of(topic, partition), 0..end);
        }
        unread.remove_read(&BTreeMap::from([
            (of("a", 0), 7),
            (of("a", 1), 6),
            (of("b", 0), 8),
            (of("c", 0), 1),
        ]));
        let left: Vec<_> = unread.extents().into_keys().collect();
        assert_eq!(left, [of("a", 1), of("b", 0)]);
        unread.remove_read(&BTreeMap::from([(of("a", 1), 8), (of("b", 0), 9)]));
        assert!(unread.is_empty());
    }
}
