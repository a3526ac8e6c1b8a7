//! What is known of the watermarks of the assigned partitions.

use std::{collections::HashMap, time::Duration};

use super::{
    watermark_loss::{loss_time, rewind_to},
    watermark_source::{ReadWatermark, WatermarkSource},
};
use crate::{
    infrastructure::kafka::{offsets::Partition, source::RewindTo},
    notification::{loss_time::LossTime, publisher::StoredWatermark},
};

/// The partitions by topic: they are looked up several times per batch, without copying names.
#[derive(Debug, Default)]
pub(super) struct TrackedPartitions(HashMap<String, HashMap<i32, Tracked>>);

/// What is known of the watermark of a partition.
#[derive(Debug)]
pub(super) struct Tracked {
    /// The assignment in which it was compared.
    pub(super) epoch: u64,
    pub(super) source: WatermarkSource,
    /// What each server has.
    pub(super) stored: StoredWatermark,
    /// What was known of losses when the servers were read.
    pub(super) at_read: LossTime,
    /// The token of the next value: the same until its outcome is known.
    pub(super) token: String,
    /// Whether something may have been published without a watermark after it.
    pub(super) is_unproven: bool,
}

impl TrackedPartitions {
    pub(super) fn get(&self, topic: &str, id: i32) -> Option<&Tracked> {
        self.0.get(topic)?.get(&id)
    }

    pub(super) fn of(&self, (topic, id): &Partition) -> Option<&Tracked> {
        self.get(topic, *id)
    }

    pub(super) fn of_mut(&mut self, (topic, id): &Partition) -> Option<&mut Tracked> {
        self.0.get_mut(topic)?.get_mut(id)
    }

    pub(super) fn insert(&mut self, (topic, id): &Partition, tracked: Tracked) {
        self.0.entry(topic.clone()).or_default().insert(*id, tracked);
    }

    pub(super) fn remove(&mut self, (topic, id): &Partition) {
        if let Some(partitions) = self.0.get_mut(topic) {
            partitions.remove(id);
        }
    }

    pub(super) fn retain(&mut self, is_kept: impl Fn(&str, i32) -> bool) {
        for (topic, partitions) in &mut self.0 {
            partitions.retain(|id, _| is_kept(topic, *id));
        }
    }
}

impl Tracked {
    pub(super) fn new(epoch: u64, read: ReadWatermark) -> Self {
        let at_read = read.loss_time();
        let ReadWatermark { source, stored, .. } = read;
        Self { epoch, source, stored, at_read, token: String::new(), is_unproven: false }
    }

    /// Returns from where, once the next value is written, the partition is read again: what was
    /// published since may be lost. That value says so, for the owner that takes over until then.
    pub(super) fn lost(&self, next: i64) -> Option<(i64, Option<(i64, LossTime)>)> {
        if !self.is_unproven {
            return None;
        }
        let loss = loss_time(&self.stored, self.at_read);
        match rewind_to(self.stored.values(), next, Duration::ZERO, loss)? {
            RewindTo::Offset { from, silent_until, loss } => {
                Some((from, (silent_until > 0).then_some((silent_until, loss))))
            }
            RewindTo::Age { .. } => None,
        }
    }
}
