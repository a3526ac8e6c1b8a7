//! Moves records from Kafka through the domain: one batch in progress at a time, in the order of
//! reading. A record that cannot be finished is parked and holds up only records that share a user,
//! batch or class with it. An outage of Redis as a whole holds up everything: the loop reads ahead,
//! then pauses. The source is polled all the time, so that the worker stays in its group. Offsets
//! are stored up to the first unfinished record of each partition.

mod completed;
mod outcomes;
mod pauses;
mod rebuilds;
mod restore;
mod tracked;
mod watermark_loss;
mod watermark_source;
pub(super) mod watermark_value;
mod watermarks;

use std::{collections::VecDeque, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    batch::{Batch, BatchProcessor},
    dead_letters::queue::{DeadLetter, DeadLetterQueue, DeadLetterSink},
    in_flight::InFlight,
    parked::ParkedRecords,
    record::InFlightRecord,
    source::{MAX_BATCH, RecordSource},
};
use crate::{
    accounting::{Accounting, TooOldEvents},
    domain::recipients::OwnerDirectory,
    notification::publisher::{Publisher, TransientError},
};
use completed::Completed;
use pauses::Pauses;
use rebuilds::Rebuilds;
use watermarks::Watermarks;

/// Time after which the batch in progress counts as stuck. Until then nothing is read behind it
/// but the next batch.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// Records and bytes that are read ahead behind a stuck batch before all partitions are paused.
/// They are published at once after an outage, while a client with paused partitions needs up to a
/// second to fetch again.
const MAX_AHEAD: (usize, usize) = (16_384, 32 << 20);

/// What the loop takes from the settings.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The consumer group, which names the watermarks.
    pub(crate) group: String,
    /// The oldest records that are read again after Redis has lost all keys; zero for none.
    pub(crate) rewind_limit: Duration,
    /// How long the owner of a record may stay unknown.
    pub(crate) owner_wait: Duration,
    /// Parked records and dead letters beyond which their partitions are paused.
    pub(crate) max_parked: usize,
}

/// A dead letter and the result of writing it.
type Written = (DeadLetter, Result<(), TransientError>);

/// The loop and what it works on.
pub struct ConsumeLoop<'c, S: RecordSource, P, D, L> {
    source: S,
    processor: &'c BatchProcessor<P, D>,
    sink: &'c L,
    accounting: &'c Accounting,
    in_flight: InFlight<'c, Completed<S::Record>>,
    watermarks: Watermarks,
    rebuilds: Rebuilds,
    /// When the batch in progress counts as stuck.
    stuck_at: Instant,
    is_stuck: bool,
    queue: VecDeque<Batch<S::Record>>,
    /// Records and bytes in the queue.
    ahead: (usize, usize),
    parked: ParkedRecords,
    /// Whether the last batch was fresh; fresh and parked records take turns.
    last_was_fresh: bool,
    dead_letters: DeadLetterQueue,
    dead_letters_in_flight: InFlight<'c, Vec<Written>>,
    pauses: Pauses,
    too_old: TooOldEvents,
}

impl<'c, S, P, D, L> ConsumeLoop<'c, S, P, D, L>
where
    S: RecordSource,
    S::Record: 'c,
    P: Publisher,
    D: OwnerDirectory,
    L: DeadLetterSink,
{
    pub(crate) fn new(
        source: S,
        processor: &'c BatchProcessor<P, D>,
        sink: &'c L,
        accounting: &'c Accounting,
        limits: &Limits,
    ) -> Self {
        Self {
            source,
            processor,
            sink,
            accounting,
            in_flight: InFlight::none(),
            watermarks: Watermarks::new(&limits.group, limits.rewind_limit),
            rebuilds: Rebuilds::default(),
            stuck_at: Instant::now(),
            is_stuck: false,
            queue: VecDeque::new(),
            ahead: (0, 0),
            parked: ParkedRecords::new(limits.owner_wait),
            last_was_fresh: false,
            dead_letters: DeadLetterQueue::default(),
            dead_letters_in_flight: InFlight::none(),
            pauses: Pauses::new(limits.max_parked),
            too_old: TooOldEvents::default(),
        }
    }

    /// Moves records until `stop`.
    ///
    /// # Errors
    /// When the source has failed for good.
    pub async fn run(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            if let Some(reason) = self.source.fatal_error() {
                anyhow::bail!(reason);
            }
            self.step(stop).await;
        }
        Ok(())
    }

    /// Finishes what is in progress, until `deadline`. Records behind it are read again by the next
    /// owner of their partition.
    pub async fn drain(mut self, deadline: Instant) {
        if !self.in_flight.is_empty() {
            if let Ok(completed) = timeout_at(deadline, self.in_flight.wait()).await {
                self.complete_last(completed);
            } else {
                warn!(
                    "batch not finished within two thirds of SHUTDOWN_GRACE; it will be read again"
                );
            }
        }
        if !self.dead_letters_in_flight.is_empty()
            && let Ok(written) = timeout_at(deadline, self.dead_letters_in_flight.wait()).await
        {
            self.apply_write_results(written);
        }
        // The next owners of the partitions find them complete.
        timeout_at(deadline, self.write_last_watermarks()).await.ok();
    }

    /// Waits for the next event and handles it.
    async fn step(&mut self, stop: &CancellationToken) {
        self.start_dead_letters().await;
        if self.in_flight.is_empty() {
            self.start_next().await;
        }
        let is_busy = !self.in_flight.is_empty();
        let may_read = self.queue.is_empty() || self.is_stuck;
        let parked_due = self.parked.next_due().filter(|_| !is_busy);
        let dead_letter_due =
            self.dead_letters.next_due().filter(|_| self.dead_letters_in_flight.is_empty());
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            completed = self.in_flight.wait() => self.complete(completed).await,
            () = sleep_until(self.stuck_at), if is_busy && !self.is_stuck => self.set_stuck(true),
            written = self.dead_letters_in_flight.wait() => self.apply_write_results(written),
            () = due(parked_due), if parked_due.is_some() => {}
            () = due(dead_letter_due), if dead_letter_due.is_some() => {}
            () = sleep_until(self.watermarks.next_due()), if !is_busy => {}
            records = self.source.read(), if may_read => self.enqueue(records),
        }
        if self.source.take_assignment_changed() {
            self.assignment_changed();
        }
    }

    /// Extends the waits of parked records if Redis was stuck.
    fn extend_waits(&mut self) {
        if self.is_stuck {
            self.parked.extend_waits(Instant::now() - self.stuck_at + STUCK_AFTER);
        }
    }

    async fn start_batch(&mut self) {
        let fresh = if self.last_was_fresh { None } else { self.next_fresh() };
        let next = fresh.or_else(|| self.next_parked()).or_else(|| self.next_fresh());
        let Some(mut batch) = next else { return };
        batch.watermarks = self.watermarks_of(&batch);
        self.last_was_fresh = !batch.is_retry;
        self.stuck_at = Instant::now() + STUCK_AFTER;
        let delivery = self.processor.deliver(batch, self.parked.held());
        self.in_flight.start(delivery.map(Completed::Batch).boxed()).await;
    }

    fn next_fresh(&mut self) -> Option<Batch<S::Record>> {
        let batch = self.queue.pop_front()?;
        let (records, bytes) = batch.size();
        self.ahead = (self.ahead.0 - records, self.ahead.1 - bytes);
        Some(batch)
    }

    fn next_parked(&mut self) -> Option<Batch<S::Record>> {
        let records = self.parked.take_due(MAX_BATCH, Instant::now());
        let records: Vec<_> = records.into_iter().map(InFlightRecord::into_batch).collect();
        (!records.is_empty()).then(|| self.processor.classify(records, true))
    }

    async fn start_dead_letters(&mut self) {
        if !self.dead_letters_in_flight.is_empty() || self.dead_letters.next_due().is_none() {
            return;
        }
        let dead_letters = self.dead_letters.take_due(MAX_BATCH, Instant::now());
        if !dead_letters.is_empty() {
            let sink = self.sink;
            let write = async move {
                let results = sink.write(&dead_letters).await;
                dead_letters.into_iter().zip(results).collect()
            };
            self.dead_letters_in_flight.start(write.boxed()).await;
        }
    }

    /// Classifies and queues records that were read.
    fn enqueue(&mut self, mut records: Vec<InFlightRecord<S::Record>>) {
        if records.is_empty() {
            return;
        }
        if self.is_stuck {
            // What waits must not keep more in memory than it counts for.
            let copied = |record: InFlightRecord<S::Record>| record.into_owned().into_batch();
            records = records.into_iter().map(copied).collect();
        }
        let rewound = records.iter().filter(|record| record.state.was_finished()).count();
        self.accounting.read(records.iter().map(InFlightRecord::written_at), rewound);
        let batch = self.processor.classify(records, false);
        let (records, bytes) = batch.size();
        self.ahead = (self.ahead.0 + records, self.ahead.1 + bytes);
        match self.queue.back_mut() {
            Some(last) if !last.was_tried && last.records.len() + records <= MAX_BATCH => {
                last.append(batch);
            }
            _ => self.queue.push_back(batch),
        }
        if self.is_full() {
            self.update_pauses();
        }
    }

    fn count_ahead(&mut self) {
        let sizes = self.queue.iter().map(Batch::size);
        self.ahead = sizes.fold((0, 0), |all, batch| (all.0 + batch.0, all.1 + batch.1));
    }

    fn is_full(&self) -> bool {
        self.is_stuck && (self.ahead.0 >= MAX_AHEAD.0 || self.ahead.1 >= MAX_AHEAD.1)
    }

    fn set_stuck(&mut self, is_stuck: bool) {
        self.is_stuck = is_stuck;
        self.accounting.set_stuck(is_stuck);
        self.update_pauses();
    }

    fn update_pauses(&mut self) {
        self.pauses.update(&self.source, self.is_full(), &self.parked, &self.dead_letters);
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
