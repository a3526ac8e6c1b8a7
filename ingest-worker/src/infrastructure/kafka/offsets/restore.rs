//! Positions of partitions that are read again because Redis has lost data: nothing below what was
//! committed is committed again, and each record states how its notification is restored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Assigned, Committed, Offsets, Partition, TopicId};
use crate::{
    domain::record::Restore, infrastructure::kafka::rewind_to::RewindTo,
    notification::loss_time::LossTime,
};

impl Offsets {
    /// Notes the id of a topic. Returns whether it had another one: it was created again.
    pub fn set_topic_id(&mut self, topic: &str, id: String) -> bool {
        let before = self.topic_ids.remove(topic);
        let is_other = before.as_ref().is_some_and(|before| before.id != id);
        let has_changed = is_other || before.is_some_and(|before| before.has_changed);
        self.topic_ids.insert(topic.to_owned(), TopicId { id, has_changed });
        is_other
    }

    /// Returns whether partitions of a topic are assigned that was created again.
    pub(crate) fn is_recreated(&self, topic: &str) -> bool {
        let is_assigned = self.topics.get(topic).is_some_and(|partitions| !partitions.is_empty());
        is_assigned && self.topic_ids.get(topic).is_some_and(|id| id.has_changed)
    }

    /// Returns the id of a topic, if it is known.
    pub(crate) fn topic_id(&self, topic: &str) -> Option<&str> {
        self.topic_ids.get(topic).map(|topic_id| topic_id.id.as_str())
    }

    /// Notes where the member begins to read a partition, unless it is known.
    pub fn set_start(&mut self, topic: &str, partition: i32, position: i64) {
        if let Some(assigned) = self.get_mut(topic, partition) {
            assigned.start.get_or_insert(position);
        }
    }

    /// Returns where the member began to read a partition, if it is known.
    pub(crate) fn start(&self, topic: &str, partition: i32) -> Option<i64> {
        self.get(topic, partition)?.start
    }

    /// Returns the partitions whose position is not known yet, each with its assignment.
    pub(crate) fn without_start(&self) -> BTreeMap<Partition, u64> {
        let all = self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(id, assigned)| ((topic.clone(), *id), assigned))
        });
        let unknown = all.filter(|(_, assigned)| assigned.start.is_none());
        unknown.map(|(partition, assigned)| (partition, assigned.epoch)).collect()
    }

    /// Begins to read a partition again from `position` on, to restore what Redis has lost: records
    /// below `silent_until` that were finished to the histories only, without it all of them. Its
    /// unfinished records are stale, and no offset below those committed so far is committed.
    pub fn begin_restore(
        &mut self,
        topic: &str,
        partition: i32,
        position: i64,
        silent_until: Option<i64>,
        loss: LossTime,
    ) {
        let epoch = self.last_epoch + 1;
        let Some(assigned) = self.get_mut(topic, partition) else { return };
        let until = assigned.finished_before().or(assigned.start).unwrap_or(position);
        // Another worker may have finished more than was committed, and is in flight here.
        let finished_elsewhere = silent_until.unwrap_or(0);
        let finished = until.max(finished_elsewhere);
        let read_until = assigned.next.unwrap_or(finished).max(finished).max(assigned.read_until);
        let not_published = assigned.not_published_again().min(read_until);
        *assigned = Assigned {
            epoch,
            start: Some(position),
            silent_until: silent_until.unwrap_or(not_published),
            loss,
            restored_until: until,
            reread_until: assigned.reread_until,
            read_until,
            committed: assigned.committed,
            never_finished: assigned.never_finished().split_off(&finished_elsewhere),
            ..Assigned::default()
        };
        self.last_epoch = epoch;
    }

    /// Returns the assignment of a partition, and the offset before which every record is finished
    /// in it; `None` while that is unknown, as between a reset and the next record.
    pub(crate) fn finished_to(&self, topic: &str, partition: i32) -> Option<(u64, i64)> {
        let assigned = self.get(topic, partition).filter(|a| a.reset_from.is_none())?;
        Some((assigned.epoch, assigned.finished_to()?))
    }

    /// Returns the topics with their ids, and of each the partitions with their assignments for which
    /// [`Self::finished_to`] returns something.
    pub(crate) fn known_positions(
        &self,
    ) -> impl Iterator<Item = (&str, Option<&str>, impl Iterator<Item = (i32, u64)>)> {
        self.topics.iter().map(|(topic, partitions)| {
            let known = partitions.iter().filter(|(_, assigned)| {
                assigned.reset_from.is_none() && assigned.finished_to().is_some()
            });
            let known = known.map(|(id, assigned)| (*id, assigned.epoch));
            (topic.as_str(), self.topic_id(topic), known)
        })
    }

    /// Returns the position from which a partition is read again, if something of it may be lost.
    /// `found` is the first offset that may be restored, `committed` the one that was committed.
    #[must_use]
    pub fn rewind_start(
        &self,
        topic: &str,
        partition: i32,
        to: RewindTo,
        found: Option<i64>,
        committed: Option<i64>,
    ) -> Option<i64> {
        let assigned = self.get(topic, partition)?;
        let from = match (to, committed) {
            (RewindTo::Offset { from, .. }, _) => from.max(found.unwrap_or(0)),
            (RewindTo::Age { silent_until, .. }, Some(_)) => {
                silent_until.into_iter().chain(found).min().unwrap_or(i64::MAX)
            }
            // What is finished before the first commit was finished in this assignment.
            (RewindTo::Age { .. }, None) => assigned.start?,
        };
        let is_committed = match (to, committed) {
            // Control records of transactions may follow what is committed.
            (_, Some(committed)) => from >= committed,
            (to, None) => !matches!(to, RewindTo::Offset { .. }),
        };
        if is_committed && assigned.is_untouched() {
            return None;
        }
        // A restore that another worker began goes on, also where there is nothing to go back to.
        let position = assigned.position()?;
        let goes_on = to.silent_until().is_some_and(|until| position < until);
        self.restore_start(topic, partition, from).or(goes_on.then_some(position))
    }

    /// Returns the position from which a partition has to be read again to restore everything from
    /// `from` on; `None` if nothing was read there. No unfinished record is before it.
    #[must_use]
    pub fn restore_start(&self, topic: &str, partition: i32, from: i64) -> Option<i64> {
        let assigned = self.get(topic, partition)?;
        let from = from.min(assigned.finished_to()?);
        (from < assigned.position()?).then_some(from)
    }

    /// Returns the offset below which finished records of a partition are restored; 0 for none.
    pub(crate) fn restored_until(&self, topic: &str, partition: i32) -> i64 {
        self.get(topic, partition).map_or(0, Assigned::finished_until)
    }

    /// Returns whether finished records of a partition are still to be read again; some that were may
    /// be parked.
    pub(crate) fn is_restoring(&self, topic: &str, partition: i32) -> bool {
        let assigned = self.get(topic, partition);
        assigned.is_some_and(|assigned| assigned.position() < Some(assigned.finished_until()))
    }

    /// Returns the offset below which another worker has to restore a partition to the histories
    /// only, and when Redis lost them; `None` once it is restored. Records that were not finished
    /// before the loss are published, and if that is lost as well, they are published again.
    pub(crate) fn silent_until(&self, topic: &str, partition: i32) -> Option<(i64, LossTime)> {
        let assigned = self.get(topic, partition)?;
        let unfinished = assigned.never_finished.range(assigned.finished_to()?..).next();
        let until = unfinished.map_or(i64::MAX, |offset| *offset).min(assigned.silent_until);
        (assigned.restored_silently_to() < until).then_some((until, assigned.loss))
    }

    /// Returns when the loss was noticed after which a partition is restored to the histories, if
    /// its time is not known.
    pub(crate) fn loss_noticed_at(&self) -> Option<LossTime> {
        let restored = self.topics.values().flat_map(HashMap::values);
        let unfinished = restored.filter(|a| a.restored_silently_to() < a.silent_until);
        let losses = unfinished.map(|assigned| assigned.loss);
        losses.filter(|loss| matches!(loss, LossTime::NoticedAt(_))).min()
    }

    /// Commits no offset of a partition above `position` before a position is confirmed.
    pub(crate) fn hold_commits(&mut self, topic: &str, partition: i32, position: i64) {
        if let Some(assigned) = self.get_mut(topic, partition) {
            assigned.confirmed.get_or_insert(position);
        }
    }

    /// Notes the position of a partition that Redis has. No later offset is committed until Redis
    /// has it: the next owner of the partition would take the difference for a loss.
    pub(crate) fn set_confirmed(&mut self, topic: &str, partition: i32, position: Option<i64>) {
        if let Some(assigned) = self.get_mut(topic, partition) {
            assigned.has_progress |= assigned.confirmed != position;
            assigned.confirmed = position;
        }
    }
}

impl Assigned {
    /// Returns whether every record that was read since the assignment is still in flight.
    fn is_untouched(&self) -> bool {
        let is_in_flight = self.in_flight.iter().all(Option::is_some) && self.parked.is_empty();
        self.read_until == 0 && self.first == 0 && is_in_flight
    }

    pub(super) fn finished_to(&self) -> Option<i64> {
        self.unfinished(i64::MIN).or(self.start)
    }

    /// Returns the offset before which every record was finished in this assignment, or before
    /// Redis lost data.
    pub(super) fn finished_before(&self) -> Option<i64> {
        let until = self.restored_until;
        let finished = self.unfinished(until).or((until > 0).then_some(until));
        finished.map(|offset| offset.max(until))
    }

    pub(super) fn committable(&self) -> Option<i64> {
        let confirmed = self.confirmed.map(|position| position.max(self.restored_until));
        self.finished_before().map(|offset| confirmed.map_or(offset, |limit| offset.min(limit)))
    }

    /// Restores nothing any more: after a reset, the offsets may be those of another log.
    pub(super) fn end_restore(&mut self) {
        (self.silent_until, self.restored_until, self.read_until) = (0, 0, 0);
        self.never_finished.clear();
        (self.confirmed, self.committed) = (None, Committed::Unknown);
    }

    /// Returns how the notification of a record is restored.
    pub(super) fn restore(&self, offset: i64) -> Option<Restore> {
        match offset {
            _ if offset >= self.read_until => None,
            _ if self.never_finished.contains(&offset) => Some(Restore::Unfinished),
            _ if offset < self.silent_until => Some(self.history_only()),
            _ => Some(Restore::Publish),
        }
    }

    /// Returns the offset below which all records were finished before Redis lost data, or are
    /// restored to the histories.
    fn finished_until(&self) -> i64 {
        self.restored_until.max(self.silent_until)
    }

    fn history_only(&self) -> Restore {
        Restore::HistoryOnly(self.loss)
    }

    /// Returns the offset of the next record to read.
    pub(super) fn position(&self) -> Option<i64> {
        self.next.or(self.start)
    }

    /// Returns the offsets of the records that are in flight or parked.
    fn in_progress(&self) -> impl Iterator<Item = i64> {
        let parked = self.parked.iter().map(|(offset, _)| *offset);
        self.in_flight.iter().flatten().copied().chain(parked)
    }

    /// Returns the offsets of the records that were read and not finished, also before Redis lost
    /// data.
    fn never_finished(&self) -> BTreeSet<i64> {
        let was_finished = |offset| self.restore(offset).is_some_and(Restore::was_finished);
        let unread = self.never_finished.range(self.position().unwrap_or(0)..).copied();
        self.in_progress().filter(|offset| !was_finished(*offset)).chain(unread).collect()
    }

    /// Returns the first offset that has not been published again, if the restore does that.
    fn not_published_again(&self) -> i64 {
        let publish = |offset: &i64| self.restore(*offset) == Some(Restore::Publish);
        let unread = self.position().unwrap_or(0).max(self.silent_until);
        self.in_progress().filter(publish).chain([unread]).min().unwrap_or(unread)
    }

    /// Returns the first offset that has not been restored to the histories, if the restore does
    /// that.
    fn restored_silently_to(&self) -> i64 {
        let is_silent = |offset: &i64| self.restore(*offset) == Some(self.history_only());
        let in_flight = self.in_flight.iter().flatten().copied();
        let parked = self.parked.range(..(self.silent_until, 0)).map(|(offset, _)| *offset);
        let unfinished = in_flight.take_while(|offset| *offset < self.silent_until).chain(parked);
        unfinished.filter(is_silent).chain(self.position()).min().unwrap_or(0)
    }
}
