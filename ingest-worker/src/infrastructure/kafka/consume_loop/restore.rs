//! Restores what Redis has lost: compares watermarks, and reads partitions again whose watermark is
//! behind or missing. Claims drop what has survived.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tracing::warn;

use super::{
    ConsumeLoop, STUCK_AFTER,
    completed::Completed,
    watermark_source::{ReadWatermark, WatermarkSource},
};
use crate::{
    domain::recipients::OwnerDirectory,
    infrastructure::kafka::{
        batch::{Batch, Delivery, WatermarkWrite},
        dead_letters::queue::DeadLetterSink,
        offsets::Partition,
        source::{RecordSource, RewindTo},
    },
    metrics::RewindReason,
    notification::publisher::{Publisher, Watermark},
};

impl<'c, S, P, D, L> ConsumeLoop<'c, S, P, D, L>
where
    S: RecordSource,
    S::Record: 'c,
    P: Publisher,
    D: OwnerDirectory,
    L: DeadLetterSink,
{
    /// Starts the next operation on Redis. Partitions are compared before their records are
    /// published.
    pub(super) async fn start_next(&mut self) {
        let unknown = self.watermarks.unknown(&self.source.offsets());
        if !unknown.is_empty() && self.watermarks.may_compare() {
            self.start_comparison(unknown).await;
        } else if self.watermarks.is_sync_due() {
            self.start_sync().await;
        } else {
            self.start_batch().await;
        }
    }

    async fn start_comparison(&mut self, partitions: Vec<Partition>) {
        let sources: Vec<WatermarkSource> = {
            let offsets = self.source.offsets();
            let source = |partition: &Partition| self.watermarks.source(partition, &offsets);
            partitions.iter().map(source).collect()
        };
        self.stuck_at = Instant::now() + STUCK_AFTER;
        let processor = self.processor;
        let read = async move {
            let mut names: Vec<Arc<str>> =
                sources.iter().map(|source| Arc::clone(&source.name)).collect();
            names.extend(sources.iter().map(|source| Arc::clone(&source.without_id)));
            names.push(Watermark::SINCE.into());
            let (mut stored, at) = processor.watermarks(&names).await;
            let since = stored.pop().unwrap_or_default();
            let without_id = stored.split_off(sources.len());
            let read = sources.into_iter().zip(stored).zip(without_id);
            let read = read.map(|((source, stored), without_id)| ReadWatermark {
                source,
                stored,
                without_id,
                since: since.clone(),
                at,
            });
            Completed::Read(partitions.into_iter().zip(read).collect())
        };
        self.in_flight.start(read.boxed()).await;
    }

    async fn start_sync(&mut self) {
        self.rebuilds.update(&self.source.offsets());
        let mut write = self.watermarks.all(&self.source.offsets());
        if write.watermarks.is_empty() {
            return self.start_batch().await;
        }
        self.stuck_at = Instant::now() + STUCK_AFTER;
        let processor = self.processor;
        let sync = async move {
            processor.write_watermarks(&mut write).await;
            Completed::Written(write)
        };
        self.in_flight.start(sync.boxed()).await;
    }

    /// Writes the watermarks of all partitions, so that their next owners find nothing to restore.
    pub(super) async fn write_last_watermarks(&mut self) {
        let mut write = self.watermarks.all(&self.source.offsets());
        if !write.watermarks.is_empty() {
            self.processor.write_watermarks(&mut write).await;
            let lost = self.watermarks.compare_written(write, &mut self.source.offsets());
            self.leave_rewinds(lost);
            self.source.store_offsets();
        }
    }

    /// Applies the result of the last operation on Redis. What Redis has lost is left to the next
    /// owners: no watermark says that those partitions are complete.
    pub(super) fn complete_last(&mut self, completed: Completed<S::Record>) {
        let (write, delivered) = match completed {
            Completed::Batch(Delivery::Complete((mut batch, outcomes))) => {
                (std::mem::take(&mut batch.watermarks), Some((batch, outcomes)))
            }
            Completed::Batch(Delivery::Interrupted(batch)) => (batch.watermarks, None),
            Completed::Written(write) => (write, None),
            Completed::Read(_) => return,
        };
        let lost = self.watermarks.compare_written(write, &mut self.source.offsets());
        self.leave_rewinds(lost);
        if let Some(delivered) = delivered {
            self.apply_outcomes(delivered);
        }
    }

    /// Returns the watermarks to write with a batch.
    pub(super) fn watermarks_of(&self, batch: &Batch<S::Record>) -> WatermarkWrite {
        let mut partitions: Vec<(&str, i32)> = Vec::new();
        for record in &batch.records {
            let partition = (record.topic(), record.partition());
            if partitions.last() != Some(&partition) {
                partitions.push(partition);
            }
        }
        self.watermarks.of(partitions, &self.source.offsets())
    }

    /// Applies the result of an operation on Redis, and starts the next one as soon as possible.
    pub(super) async fn complete(&mut self, completed: Completed<S::Record>) {
        match completed {
            Completed::Batch(Delivery::Interrupted(batch)) => self.interrupt(batch).await,
            Completed::Batch(Delivery::Complete((mut batch, outcomes))) => {
                self.extend_waits();
                let write = std::mem::take(&mut batch.watermarks);
                let lost = self.watermarks.compare_written(write, &mut self.source.offsets());
                let has_parked = outcomes.iter().any(|outcome| outcome.kind().is_none());
                // What is parked now may block records of the next batch.
                if lost.is_empty() && !has_parked {
                    // Redis works on the next batch while this one is counted.
                    self.start_next().await;
                }
                self.apply_outcomes((batch, outcomes));
                self.restore(lost).await;
            }
            Completed::Read(read) => {
                self.extend_waits();
                let mut lost = Vec::new();
                for (partition, read) in read {
                    let mut offsets = self.source.offsets();
                    let to = self.watermarks.compare(&partition, read, &mut offsets);
                    lost.extend(to.map(|to| (partition, to)));
                }
                self.mark_reread();
                self.end_stuck();
                self.restore(lost).await;
            }
            Completed::Written(write) => {
                self.extend_waits();
                if write.stored.is_empty() {
                    // The masters have changed.
                    for partition in &write.partitions {
                        self.watermarks.forget(partition);
                    }
                }
                let lost = self.watermarks.compare_written(write, &mut self.source.offsets());
                self.source.store_offsets();
                self.end_stuck();
                self.restore(lost).await;
            }
        }
    }

    /// Reads again what Redis has lost; then the batch is delivered.
    async fn interrupt(&mut self, mut batch: Batch<S::Record>) {
        self.extend_waits();
        let write = std::mem::take(&mut batch.watermarks);
        let lost = self.watermarks.compare_written(write, &mut self.source.offsets());
        self.queue.push_front(batch);
        // Its partitions may have been revoked meanwhile.
        self.assignment_changed();
        self.end_stuck();
        self.restore(lost).await;
    }

    /// Marks what was read before it was known that a former owner has rewound the partition.
    fn mark_reread(&mut self) {
        let offsets = self.source.offsets();
        for batch in &mut self.queue {
            self.processor.mark_reread(batch, &offsets);
        }
        drop(offsets);
        self.count_ahead();
    }

    /// Reads partitions again.
    async fn restore(&mut self, lost: Vec<(Partition, RewindTo)>) {
        if lost.is_empty() {
            return;
        }
        let lost = self.due_rewinds(lost);
        let rewound = self.source.rewind(&lost).await;
        let (mut failed, mut first_error) = (0, None);
        for ((partition, to), rewound) in lost.into_iter().zip(rewound) {
            let reason = match to {
                RewindTo::Offset { .. } => RewindReason::Behind,
                RewindTo::Age { .. } => RewindReason::Missing,
            };
            let (topic, id) = (&partition.0, partition.1);
            match rewound {
                Ok(Some(from)) => {
                    let offsets = self.source.offsets();
                    let until = offsets.restored_until(topic, id);
                    self.watermarks.restoring(&partition, &offsets);
                    drop(offsets);
                    self.accounting.rewound(&partition, from, until, reason);
                }
                Ok(None) => {}
                Err(error) => {
                    self.accounting.retried(&error);
                    if self.watermarks.forget(&partition) {
                        failed += 1;
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        // One line for all partitions: they fail together when a broker is away.
        if let Some(error) = first_error {
            warn!(partitions = failed, %error, "partitions not rewound, retrying");
        }
        self.assignment_changed();
    }

    /// Returns the rewinds that do not have to wait; the others are compared again.
    fn due_rewinds(&mut self, lost: Vec<(Partition, RewindTo)>) -> Vec<(Partition, RewindTo)> {
        self.rebuilds.update(&self.source.offsets());
        let mut due = Vec::new();
        for (partition, to) in lost {
            match self.rebuilds.admit(&partition, to) {
                Some(admitted) => due.push((partition, admitted)),
                None => self.leave_rewinds(vec![(partition, to)]),
            }
        }
        due
    }

    /// Leaves partitions to be compared again, by this worker or their next owners.
    fn leave_rewinds(&mut self, lost: Vec<(Partition, RewindTo)>) {
        for (partition, to) in lost {
            self.watermarks.forget(&partition);
            if matches!(to, RewindTo::Age { .. }) {
                // Without a watermark, histories are rebuilt up to what is committed; the rest would
                // be published again.
                self.source.offsets().set_confirmed(&partition.0, partition.1, None);
            }
        }
    }

    fn end_stuck(&mut self) {
        if self.is_stuck {
            self.set_stuck(false);
        }
    }
}
