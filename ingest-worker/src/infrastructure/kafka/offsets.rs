//! Tracks unfinished records per assigned partition and yields the offset that is safe to commit:
//! that of the first unfinished record. Costs the same for every record, however many have been
//! finished behind a parked one. Knows nothing of how offsets are stored.

mod reset;
mod restore;

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::{domain::record::Restore, notification::loss_time::LossTime};

/// A partition of a topic.
pub type Partition = (String, i32);

/// Names a record within one assignment of its partition; a revocation makes it stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlightId {
    epoch: u64,
    index: u64,
}

/// A record that [`Offsets::read`] has admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Names the record from now on.
    pub id: InFlightId,
    /// Whether the partition was reset to an earlier offset, so that this one is read again.
    pub is_reread: bool,
    /// The position that a reset of the partition has left, on the first record after it.
    pub reset_from: Option<i64>,
    /// Whether the client did not report this reset: records that it had read were lost, and it
    /// continues at the end of what is left.
    pub is_truncated: bool,
    /// Set if the record is read again because Redis has lost data.
    pub restore: Option<Restore>,
}

/// The unfinished records of all assigned partitions.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: HashMap<String, HashMap<i32, Assigned>>,
    topic_ids: HashMap<String, TopicId>,
    last_epoch: u64,
}

/// The id that the brokers give a topic.
#[derive(Debug)]
struct TopicId {
    id: String,
    /// Whether it was another one before: the topic was created again.
    has_changed: bool,
}

/// One partition, from its assignment to its revocation.
#[derive(Debug, Default)]
struct Assigned {
    epoch: u64,
    /// Offsets in the order they were read; `None` for those finished or parked. The first, number
    /// `first`, is never `None`.
    in_flight: VecDeque<Option<i64>>,
    first: u64,
    /// The offsets and numbers of parked records: a reset makes an offset occur twice.
    parked: BTreeSet<(i64, u64)>,
    /// The offset after the last record that was read.
    next: Option<i64>,
    /// Whether a record was finished since the last call of `take_committable`.
    has_progress: bool,
    reset_from: Option<i64>,
    /// Offsets below this one may have been read before the partition was rewound.
    reread_until: i64,
    /// The position before the first record was read, if it is known.
    start: Option<i64>,
    /// Offsets below this one are restored to the histories only.
    silent_until: i64,
    /// When Redis lost the data that is restored.
    loss: LossTime,
    /// All offsets below this one were finished before Redis lost data.
    restored_until: i64,
    /// Offsets below this one were read before Redis lost data, so that they may be published.
    read_until: i64,
    /// Those below `read_until` that were not finished. As many as were in flight or parked.
    never_finished: BTreeSet<i64>,
    /// The position that Redis has; without it, everything that is finished is committed.
    confirmed: Option<i64>,
    committed: Committed,
}

/// What is known of the committed offset of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Committed {
    #[default]
    Unknown,
    Nothing,
    /// There may be a later one.
    Offset(i64),
}

impl Offsets {
    /// Starts tracking a partition; only an assignment does.
    pub fn assign(&mut self, topic: &str, partition: i32) {
        self.last_epoch += 1;
        let assigned = Assigned { epoch: self.last_epoch, ..Assigned::default() };
        self.topics.entry(topic.to_owned()).or_default().insert(partition, assigned);
    }

    /// Notes what was committed when a partition was assigned, unless something was since.
    pub(crate) fn set_first_committed(
        &mut self,
        (topic, partition): &Partition,
        epoch: u64,
        committed: Committed,
    ) {
        let assigned = self.get_mut(topic, *partition).filter(|assigned| assigned.epoch == epoch);
        if let Some(assigned) = assigned.filter(|a| a.committed == Committed::Unknown) {
            assigned.committed = committed;
        }
    }

    /// Notes that an offset of a partition is committed.
    pub(crate) fn set_committed(&mut self, topic: &str, partition: i32, offset: i64) {
        if let Some(assigned) = self.get_mut(topic, partition) {
            assigned.committed = Committed::Offset(offset);
        }
    }

    pub(crate) fn committed(&self, topic: &str, partition: i32) -> Committed {
        self.get(topic, partition).map_or(Committed::Unknown, |assigned| assigned.committed)
    }

    /// Stops tracking a partition; its unfinished records are stale.
    pub fn revoke(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.remove(&partition);
        }
    }

    /// Returns all partitions that are assigned.
    pub(crate) fn assigned(&self) -> BTreeSet<Partition> {
        let partitions = |(topic, partitions): (&String, &HashMap<i32, Assigned>)| {
            partitions.keys().map(|id| (topic.clone(), *id)).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(partitions).collect()
    }

    /// Returns whether a partition is assigned.
    pub(crate) fn is_assigned(&self, topic: &str, partition: i32) -> bool {
        self.get(topic, partition).is_some()
    }

    /// Tracks a record that was read; `None` if its partition is not assigned.
    pub fn read(&mut self, topic: &str, partition: i32, offset: i64) -> Option<Admitted> {
        let assigned = self.get_mut(topic, partition)?;
        // Records that were fetched before a reset continue where the last one ended.
        let is_before_reset = |from| offset < from && assigned.next.is_some_and(|n| n <= offset);
        let truncated_from = assigned.next.filter(|next| offset < *next);
        let is_truncated = assigned.reset_from.is_none() && truncated_from.is_some();
        let reset_from = assigned.reset_from.filter(|from| !is_before_reset(*from));
        let reset_from = if is_truncated { truncated_from } else { reset_from };
        if let Some(from) = reset_from {
            assigned.reset_from = None;
            assigned.release_from(offset);
            assigned.reread_until = if offset < from { from } else { 0 };
            // Behind deleted records, what is restored goes on.
            if offset < from {
                assigned.end_restore();
            }
        }
        assigned.start.get_or_insert(offset);
        assigned.in_flight.push_back(Some(offset));
        assigned.next = Some(offset + 1);
        let index = assigned.first + assigned.in_flight.len() as u64 - 1;
        let id = InFlightId { epoch: assigned.epoch, index };
        let restore = assigned.restore(offset);
        let is_reread = offset < assigned.reread_until;
        Some(Admitted { id, is_reread, reset_from, is_truncated, restore })
    }

    /// Notes that a record is finished.
    pub(crate) fn finish(&mut self, topic: &str, partition: i32, offset: i64, id: InFlightId) {
        let Some(assigned) = self.current(topic, partition, id) else { return };
        if !assigned.leave_flight(id) {
            assigned.parked.remove(&(offset, id.index));
        }
        assigned.has_progress = true;
    }

    /// Notes that a record is parked. Returns whether it still counts.
    pub(crate) fn park(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        id: InFlightId,
    ) -> bool {
        let Some(assigned) = self.current(topic, partition, id) else { return false };
        if assigned.leave_flight(id) {
            assigned.parked.insert((offset, id.index));
        }
        assigned.has_progress = true;
        true
    }

    /// Returns the offset to commit of each partition with progress since the last call: the next
    /// one to read after a restart.
    pub fn take_committable(&mut self) -> Vec<(&str, i32, i64)> {
        let mut all = Vec::new();
        for (topic, partitions) in &mut self.topics {
            for (partition, assigned) in partitions {
                // Until a record is read after a reset, the offsets are those of the former log.
                if assigned.reset_from.is_none() && std::mem::take(&mut assigned.has_progress) {
                    let offset = assigned.committable();
                    all.extend(offset.map(|offset| (topic.as_str(), *partition, offset)));
                }
            }
        }
        all
    }

    /// Returns whether a record still counts: its partition was not revoked since it was read.
    pub(crate) fn is_current(&self, topic: &str, partition: i32, id: InFlightId) -> bool {
        self.get(topic, partition).is_some_and(|assigned| assigned.epoch == id.epoch)
    }

    /// Returns whether a partition has unfinished records.
    #[must_use]
    pub fn is_in_flight(&self, (topic, partition): &Partition) -> bool {
        self.get(topic, *partition).is_some_and(|a| !a.in_flight.is_empty() || !a.parked.is_empty())
    }

    fn get(&self, topic: &str, partition: i32) -> Option<&Assigned> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Returns the number of unfinished records of all partitions.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let assigned = self.topics.values().flat_map(HashMap::values);
        assigned.map(|a| a.in_flight.iter().flatten().count() + a.parked.len()).sum()
    }

    fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Assigned> {
        self.topics.get_mut(topic)?.get_mut(&partition)
    }

    fn current(&mut self, topic: &str, partition: i32, id: InFlightId) -> Option<&mut Assigned> {
        self.get_mut(topic, partition).filter(|assigned| assigned.epoch == id.epoch)
    }
}

impl Assigned {
    /// Returns whether the record was in flight.
    fn leave_flight(&mut self, id: InFlightId) -> bool {
        let position = id.index.checked_sub(self.first).and_then(|index| index.try_into().ok());
        let slot = position.and_then(|position: usize| self.in_flight.get_mut(position));
        let was_in_flight = slot.is_some_and(|slot| slot.take().is_some());
        self.remove_finished();
        was_in_flight
    }

    /// Lets records from `offset` on hold up no commit: after a reset to `offset` they are read
    /// again, or belong to a log that no longer exists.
    fn release_from(&mut self, offset: i64) {
        let released =
            |slot: &&mut Option<i64>| slot.is_some_and(|unfinished| unfinished >= offset);
        self.in_flight.iter_mut().filter(released).for_each(|slot| *slot = None);
        self.remove_finished();
        self.parked.split_off(&(offset, 0));
    }

    fn remove_finished(&mut self) {
        while let Some(None) = self.in_flight.front() {
            self.in_flight.pop_front();
            self.first += 1;
        }
    }

    /// Returns the offset before which every record is finished, counting parked records from
    /// `parked_from` on.
    fn unfinished(&self, parked_from: i64) -> Option<i64> {
        let in_flight = self.in_flight.front().copied().flatten();
        let parked = self.parked.range((parked_from, 0)..).next().map(|(offset, _)| *offset);
        in_flight.into_iter().chain(parked).min().or(self.next)
    }
}

#[cfg(test)]
mod tests;
