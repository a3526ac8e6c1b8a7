//! Which partitions are paused: all of them while too much is read ahead of a stuck batch, those of
//! parked records and dead letters while there are too many of these.

use std::collections::BTreeSet;

use tracing::info;

use crate::infrastructure::kafka::{
    dead_letters::queue::DeadLetterQueue, offsets::Partition, parked::ParkedRecords,
    source::RecordSource,
};

/// Memory that parked records and dead letters may take before their partitions are paused.
const MAX_PARKED_BYTES: usize = 64 << 20;

/// The partitions that are paused.
#[derive(Debug)]
pub(super) struct Pauses {
    paused: BTreeSet<Partition>,
    max_parked: usize,
    /// Whether the parked records are too many; until they are fewer than half as many.
    parked_full: bool,
    /// What the last update was made from; an equal one changes nothing.
    last: Option<(bool, bool, usize)>,
}

impl Pauses {
    pub(super) fn new(max_parked: usize) -> Self {
        Self { paused: BTreeSet::new(), max_parked, parked_full: false, last: None }
    }

    /// Pauses and resumes partitions as needed.
    pub(super) fn update(
        &mut self,
        source: &impl RecordSource,
        all: bool,
        parked: &ParkedRecords,
        dead_letters: &DeadLetterQueue,
    ) {
        let count = parked.len() + dead_letters.len();
        let bytes = parked.bytes() + dead_letters.bytes();
        let share = if self.parked_full { 2 } else { 1 };
        self.parked_full = share * count >= self.max_parked || share * bytes >= MAX_PARKED_BYTES;
        let update = Some((all, self.parked_full, if self.parked_full { count } else { 0 }));
        if std::mem::replace(&mut self.last, update) == update {
            return;
        }
        let wanted = if all {
            source.offsets().assigned()
        } else if self.parked_full {
            parked.partitions().chain(dead_letters.partitions()).collect()
        } else {
            BTreeSet::new()
        };
        if wanted != self.paused {
            info!(paused = wanted.len(), "paused partitions changed");
            source.set_paused(&self.paused.difference(&wanted).cloned().collect(), false);
            source.set_paused(&wanted.difference(&self.paused).cloned().collect(), true);
            self.paused = wanted;
        }
    }

    /// Drops revoked partitions and pauses again those that were assigned again.
    pub(super) fn assignment_changed(&mut self, source: &impl RecordSource) {
        self.last = None;
        let assigned = source.offsets().assigned();
        self.paused.retain(|partition| assigned.contains(partition));
        source.set_paused(&self.paused, true);
    }
}
