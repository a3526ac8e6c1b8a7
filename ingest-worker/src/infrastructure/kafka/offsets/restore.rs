//! Positions of partitions that are read again because Redis has lost data: nothing below what was
//! committed is committed again, and each record states how its notification is restored.

use super::{Assigned, Offsets};
use crate::domain::record::Restore;

impl Offsets {
    /// Notes where the member begins to read a partition, unless it is known.
    pub fn set_start(&mut self, topic: &str, partition: i32, position: i64) {
        if let Some(assigned) = self.get_mut(topic, partition) {
            assigned.start.get_or_insert(position);
        }
    }

    /// Begins to read a partition again from `position` on, to restore what Redis has lost: offsets
    /// below `silent_until` to the histories only, without it all that were finished. Its
    /// unfinished records are stale, and no offset below those committed so far is committed.
    pub fn begin_restore(
        &mut self,
        topic: &str,
        partition: i32,
        position: i64,
        silent_until: Option<i64>,
    ) {
        let epoch = self.last_epoch + 1;
        let Some(assigned) = self.get_mut(topic, partition) else { return };
        let until = assigned.finished_before().or(assigned.start).unwrap_or(position);
        *assigned = Assigned {
            epoch,
            start: Some(position),
            silent_until: silent_until.or(assigned.finished_to()).unwrap_or(position),
            restored_until: until,
            reread_until: assigned.reread_until,
            read_until: assigned.next.unwrap_or(until).max(assigned.read_until),
            ..Assigned::default()
        };
        self.last_epoch = epoch;
    }

    /// Returns the assignment of a partition, and the offset before which every record is finished
    /// in it; `None` while that is unknown.
    pub(crate) fn finished_to(&self, topic: &str, partition: i32) -> Option<(u64, i64)> {
        let assigned = self.get(topic, partition)?;
        Some((assigned.epoch, assigned.finished_to()?))
    }

    /// Returns whether reading a partition again from `from` on may restore something: for all
    /// histories what was finished, else what was read.
    #[must_use]
    pub fn may_restore(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        silent_until: Option<i64>,
    ) -> bool {
        let position = self.get(topic, partition).and_then(|assigned| match silent_until {
            None => assigned.finished_to(),
            Some(_) => assigned.next.or(assigned.start),
        });
        position.is_some_and(|position| from < position)
    }

    /// Returns the offset below which finished records of a partition are restored; 0 for none.
    pub(crate) fn restored_until(&self, topic: &str, partition: i32) -> i64 {
        self.get(topic, partition).map_or(0, |assigned| assigned.restored_until)
    }

    /// Returns the offset below which a partition is restored to the histories only; `None` once it
    /// is.
    pub(crate) fn silent_until(&self, topic: &str, partition: i32) -> Option<i64> {
        let assigned = self.get(topic, partition)?;
        Some(assigned.silent_until).filter(|until| assigned.finished_to() < Some(*until))
    }

    /// Returns whether no record of a partition was finished since its assignment.
    pub(crate) fn is_untouched(&self, topic: &str, partition: i32) -> bool {
        self.get(topic, partition).is_some_and(|assigned| {
            assigned.restored_until == 0 && assigned.finished_to() == assigned.start
        })
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
        self.confirmed = None;
    }

    /// Returns how the notification of a record is restored.
    pub(super) fn restore(&self, offset: i64) -> Option<Restore> {
        match offset {
            _ if offset >= self.restored_until => {
                (offset < self.read_until).then_some(Restore::Unfinished)
            }
            _ if offset < self.silent_until => Some(Restore::HistoryOnly),
            _ => Some(Restore::Publish),
        }
    }
}
