//! Resets: the client left its position, as that was out of range or the topic was created again.

use super::Offsets;

impl Offsets {
    /// Notes that `position` was out of range and the client continues elsewhere.
    pub fn reset(&mut self, topic: &str, partition: i32, position: i64) {
        if let Some(assigned) = self.get_mut(topic, partition) {
            assigned.reset_from = Some(position);
        }
    }

    /// Takes the position at which the client fetches a partition and has read everything. Returns the
    /// position that a reset has left if it is a later one: everything in between was deleted, and
    /// there is no record yet that would show it.
    pub(crate) fn deleted_until(
        &mut self,
        topic: &str,
        partition: i32,
        position: i64,
    ) -> Option<i64> {
        let assigned = self.get_mut(topic, partition)?;
        let from = assigned.reset_from.filter(|from| *from < position)?;
        assigned.reset_from = None;
        assigned.release_from(position);
        assigned.reread_until = 0;
        assigned.next = Some(position);
        assigned.has_progress = true;
        Some(from)
    }

    /// Notes that a topic was created again and is read from its beginning; returns its partitions
    /// with the positions that they leave.
    pub(crate) fn rewind(&mut self, topic: &str) -> Vec<(i32, i64)> {
        let partitions = self.topics.get_mut(topic).into_iter().flatten();
        let rewound = partitions.map(|(partition, assigned)| {
            let from = assigned.position().unwrap_or(0);
            assigned.reset_from = Some(from);
            (*partition, from)
        });
        rewound.collect()
    }

    /// Returns the position that a partition has left by a reset, until its next record is read.
    pub(crate) fn reset_from(&self, topic: &str, partition: i32) -> Option<i64> {
        self.get(topic, partition)?.reset_from
    }

    /// Returns the position from which a partition was rewound, until everything before it is
    /// finished again.
    pub(crate) fn reread_until(&self, topic: &str, partition: i32) -> Option<i64> {
        let assigned = self.get(topic, partition)?;
        let finished_to = assigned.finished_to()?;
        Some(assigned.reread_until).filter(|until| finished_to < *until)
    }

    /// Takes the position from which a former owner of a partition has rewound it.
    pub(crate) fn set_reread_until(&mut self, topic: &str, partition: i32, position: i64) {
        if let Some(assigned) = self.get_mut(topic, partition) {
            assigned.reread_until = assigned.reread_until.max(position);
        }
    }

    /// Returns whether an offset is below the position from which its partition was rewound.
    pub(crate) fn is_reread(&self, topic: &str, partition: i32, offset: i64) -> bool {
        self.get(topic, partition).is_some_and(|assigned| offset < assigned.reread_until)
    }
}
