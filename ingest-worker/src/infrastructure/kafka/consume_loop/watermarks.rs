//! How far each assigned partition is published, as Redis has it, compared with how far it is
//! finished here. A watermark that is behind, or missing, means that Redis has lost what is in
//! between.
//!
//! A watermark is written in the same pipeline as a batch, after its scripts, and says what was
//! finished before that batch. It replaces the value that the batch before has written, and no
//! other: a server that went back in time has an older value, keeps it, and is noticed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use super::{
    tracked::{Tracked, TrackedPartitions},
    watermark_loss::{begun_until, loss_time, rewind_to},
    watermark_source::{ReadWatermark, WatermarkSource},
    watermark_value::Position,
};
use crate::{
    infrastructure::kafka::{
        batch::WatermarkWrite,
        offsets::{Offsets, Partition},
        source::RewindTo,
    },
    notification::{
        loss_time::LossTime,
        publisher::{StoredWatermark, Watermark},
    },
};

/// How often the watermarks of all partitions are compared, and written if they are behind.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// The watermarks of the assigned partitions.
#[derive(Debug)]
pub(super) struct Watermarks {
    group: Arc<str>,
    /// The oldest records that are read again if a watermark is missing; zero for none.
    limit: Duration,
    /// Begins the tokens of this process.
    process: String,
    last_token: u64,
    tracked: TrackedPartitions,
    /// The partitions that were forgotten and not written since.
    forgotten: BTreeSet<Partition>,
    /// When all of them are written and compared next.
    sync_at: Instant,
    /// When a partition can be compared that could not be read again.
    compare_at: Instant,
}

impl Watermarks {
    pub(super) fn new(group: &str, limit: Duration) -> Self {
        Self {
            group: group.into(),
            limit,
            process: Uuid::new_v4().simple().to_string()[..12].to_owned(),
            last_token: 0,
            tracked: TrackedPartitions::default(),
            forgotten: BTreeSet::new(),
            sync_at: Instant::now() + SYNC_INTERVAL,
            compare_at: Instant::now(),
        }
    }

    /// Returns when the next comparison is due.
    pub(super) fn next_due(&self) -> Instant {
        if self.compare_at > Instant::now() { self.compare_at } else { self.sync_at }
    }

    /// Returns whether the watermarks of all partitions are due.
    pub(super) fn is_sync_due(&self) -> bool {
        self.sync_at <= Instant::now()
    }

    /// Returns whether unknown partitions can be compared now.
    pub(super) fn may_compare(&self) -> bool {
        self.compare_at <= Instant::now()
    }

    /// Returns the partitions that have to be compared before anything of them is published.
    pub(super) fn unknown(&self, offsets: &Offsets) -> Vec<Partition> {
        let mut unknown = Vec::new();
        for (topic, topic_id, positions) in offsets.known_positions() {
            for (id, epoch) in positions {
                let is_current = |tracked: &Tracked| {
                    tracked.epoch == epoch && tracked.source.topic_id.as_deref() == topic_id
                };
                if !self.tracked.get(topic, id).is_some_and(is_current) {
                    unknown.push((topic.to_owned(), id));
                }
            }
        }
        unknown.sort_unstable();
        unknown
    }

    /// Returns the names of a partition's watermark.
    pub(super) fn source(&self, partition: &Partition, offsets: &Offsets) -> WatermarkSource {
        let (topic, id) = partition;
        WatermarkSource::new(&self.group, topic, *id, offsets.topic_id(topic))
    }

    /// Returns the watermarks of those partitions that have been compared.
    pub(super) fn of<'p>(
        &self,
        partitions: impl IntoIterator<Item = (&'p str, i32)>,
        offsets: &Offsets,
    ) -> WatermarkWrite {
        let partitions: BTreeSet<(&str, i32)> = partitions.into_iter().collect();
        let watermark = |(topic, id): (&str, i32)| {
            let partition = (topic.to_owned(), id);
            let Some((epoch, next)) = offsets.finished_to(topic, id) else {
                let watermark = self.of_recreated(&partition, offsets)?;
                return Some((partition, watermark));
            };
            let tracked = self.tracked.of(&partition).filter(|tracked| tracked.epoch == epoch)?;
            let (next, silent_until) =
                tracked.lost(next).unwrap_or_else(|| (next, offsets.silent_until(topic, id)));
            let reread_until = offsets.reread_until(topic, id);
            let position =
                Position { next, silent_until, reread_until, ..Position::default() }.to_string();
            let (source, stored) = (Arc::clone(&tracked.source.name), tracked.stored.clone());
            let token = tracked.token.clone();
            Some((partition, Watermark { source, stored, token, position }))
        };
        let (partitions, watermarks) = partitions.into_iter().filter_map(watermark).unzip();
        WatermarkWrite { partitions, watermarks, stored: Vec::new() }
    }

    /// Returns the first watermark of a partition of a topic that was created again, until a record of
    /// it is read: it tells the next owner where the former topic ended.
    fn of_recreated(&self, partition: &Partition, offsets: &Offsets) -> Option<Watermark> {
        let (tracked, source) = (self.tracked.of(partition)?, self.source(partition, offsets));
        let (former, present) = (tracked.source.topic_id.as_ref()?, source.topic_id.as_ref()?);
        let reread_until = Some(offsets.reset_from(&partition.0, partition.1)?);
        let position = Position { reread_until, ..Position::default() }.to_string();
        let stored = tracked.stored.keys().map(|key| (Arc::clone(key), None)).collect();
        let token = tracked.token.clone();
        (former != present).then_some(Watermark { source: source.name, stored, token, position })
    }

    /// Returns the watermarks of all partitions, and schedules the next time.
    pub(super) fn all(&mut self, offsets: &Offsets) -> WatermarkWrite {
        self.sync_at = Instant::now() + SYNC_INTERVAL;
        let assigned = offsets.assigned();
        self.tracked.retain(|topic, id| offsets.is_assigned(topic, id));
        self.of(assigned.iter().map(|(topic, id)| (topic.as_str(), *id)), offsets)
    }

    /// Takes what the servers hold of a partition that was unknown; nothing if they refuse to be
    /// read. Returns from where the partition has to be read again, if Redis has lost data.
    pub(super) fn compare(
        &mut self,
        partition: &Partition,
        read: ReadWatermark,
        offsets: &mut Offsets,
    ) -> Option<RewindTo> {
        let (epoch, position) = offsets.finished_to(&partition.0, partition.1)?;
        let topic_id = offsets.topic_id(&partition.0);
        if read.source.topic_id.as_deref() != topic_id {
            return None;
        }
        let before = self.tracked.of(partition).filter(|tracked| tracked.epoch == epoch);
        let is_renamed = before.is_some_and(|tracked| match &tracked.source.topic_id {
            None => topic_id.is_some() && tracked.stored == read.without_id,
            // The topic was created again, and is read from its beginning.
            Some(former) => topic_id.is_some_and(|id| id != former),
        });
        if read.stored.is_empty() {
            // It is unknown what they hold: a loss would not be noticed, and commits go on.
            offsets.set_confirmed(&partition.0, partition.1, None);
        } else {
            // If it cannot be read again now, its next owner still finds what is missing.
            offsets.hold_commits(&partition.0, partition.1, position);
        }
        if let Some(until) = read.reread_until().filter(|until| position < *until) {
            info!(
                kafka.topic = partition.0,
                kafka.partition = partition.1,
                from = position,
                to = until,
                "reading again what the group had finished, without records older than IDEMPOTENCY_TTL"
            );
            offsets.set_reread_until(&partition.0, partition.1, until);
        }
        if read.stored.values().any(Option::is_none) {
            self.write_first();
        }
        let values = if is_renamed { Vec::new() } else { read.highest() };
        // A history that a worker has made since the loss is newer. Any other has survived, unless
        // it is being rebuilt after the same loss.
        let noticed = LossTime::NoticedAt(read.lost_before());
        let loss = offsets.loss_noticed_at().unwrap_or(noticed);
        // More may have been finished before that loss than was committed.
        let needed = begun_until(&values).map_or(position, |until| until.max(position));
        let rewind = rewind_to(values.iter(), needed, self.limit, loss);
        self.track(partition, Tracked::new(epoch, read));
        rewind
    }

    /// Takes what the servers hold after watermarks were written. Returns the partitions that have
    /// to be read again.
    pub(super) fn compare_written(
        &mut self,
        write: WatermarkWrite,
        offsets: &mut Offsets,
    ) -> Vec<(Partition, RewindTo)> {
        let WatermarkWrite { partitions, watermarks, stored } = write;
        let written = partitions.into_iter().zip(watermarks).zip(stored);
        let compare =
            |((partition, written), stored): ((Partition, Watermark), StoredWatermark)| {
                let (epoch, position) = offsets.finished_to(&partition.0, partition.1)?;
                let is_current = |tracked: &&Tracked| {
                    tracked.epoch == epoch && tracked.source.name == written.source
                };
                let tracked = self.tracked.of(&partition).filter(is_current)?;
                let is_new = |value: &Option<String>| {
                    value.as_ref().is_some_and(|value| written.is_new(value))
                };
                let is_other = |(key, value): &(&Arc<str>, &Option<String>)| {
                    !is_new(value) && written.stored.get(*key) != Some(value)
                };
                let is_written = stored.values().all(is_new);
                let loss = loss_time(&written.stored, tracked.at_read);
                let rewind = if is_written && tracked.is_unproven {
                    // The servers may have lost what was published since the value before.
                    rewind_to(written.stored.values(), position, self.limit, loss)
                } else {
                    let others = stored.iter().filter(is_other).map(|(_, value)| value);
                    rewind_to(others, i64::MAX, self.limit, loss)
                };
                let confirmed =
                    stored.values().map(|value| Some(Position::of(value.as_deref()?)?.next));
                let confirmed = confirmed.min().flatten().filter(|_| is_written);
                offsets.set_confirmed(&partition.0, partition.1, confirmed);
                let is_unproven = !is_written && rewind.is_none();
                let (source, at_read) = (tracked.source.clone(), tracked.at_read);
                if is_written {
                    self.forgotten.remove(&partition);
                }
                let token = String::new();
                let tracked = Tracked { epoch, source, stored, at_read, token, is_unproven };
                self.track(&partition, tracked);
                if matches!(rewind, Some(RewindTo::Age { .. })) {
                    self.write_first();
                }
                Some((partition, rewind?))
            };
        written.filter_map(compare).collect()
    }

    /// Writes missing watermarks before anything is published. A batch that expected none would not
    /// notice a loss of the notifications before its watermarks.
    fn write_first(&mut self) {
        self.sync_at = Instant::now();
    }

    /// Forgets what the servers hold, to compare again after a while. Returns whether that is news
    /// for the partition: it was not forgotten since it was last written.
    pub(super) fn forget(&mut self, partition: &Partition) -> bool {
        self.tracked.remove(partition);
        self.compare_at = Instant::now() + SYNC_INTERVAL;
        self.forgotten.insert(partition.clone())
    }

    /// Follows a partition into the epoch in which it is restored.
    pub(super) fn restoring(&mut self, partition: &Partition, offsets: &Offsets) {
        let position = offsets.finished_to(&partition.0, partition.1);
        let tracked = self.tracked.of_mut(partition);
        if let (Some(tracked), Some((epoch, _))) = (tracked, position) {
            tracked.epoch = epoch;
        }
    }

    fn track(&mut self, partition: &Partition, tracked: Tracked) {
        self.last_token += 1;
        let token = format!("{}-{}", self.process, self.last_token);
        self.tracked.insert(partition, Tracked { token, ..tracked });
    }
}
