//! The loop that moves records from Kafka through the domain, one batch at a time and in order.
//! It polls whatever happens: while a batch cannot be finished it reads ahead, then pauses, and
//! stays a member of its group.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::ReadyChunks};
use rdkafka::{
    consumer::MessageStream,
    error::KafkaResult,
    message::{BorrowedMessage, Message as _},
};
use shared::time::Timestamp;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    batch::{Batch, Stage},
    consumer::{Assignments, Consumer},
    in_flight::UnderWay,
    offsets::Partition,
    parked::WaitingRoom,
    record::InHand,
    tracing as spans,
};
use crate::{
    domain::{
        recipients::OwnerDirectory,
        record::{IgnoreReason, Outcome},
    },
    notification::publisher::Publisher,
};

/// Most records in a batch. Beyond it, pipelining them gains nothing more.
const BATCH: usize = 256;
/// How long a batch may take before it counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// The most that is read ahead behind a stuck batch, in records and in bytes; then reading is
/// paused. What has been read is told at once afterwards, while a client that has paused
/// everything needs up to a second to fetch again.
const MOST_AHEAD: (usize, usize) = (16_384, 32 << 20);
/// How often records without an owner are tried again.
const RETRY_WAITING: Duration = Duration::from_millis(200);

/// The moving parts of the loop.
struct Pump<'c, P, D> {
    consumer: &'c Consumer,
    stage: &'c Stage<P, D>,
    stream: ReadyChunks<MessageStream<'c, Assignments>>,
    under_way: UnderWay<'c>,
    /// When the batch that is under way will have taken too long.
    late_at: Instant,
    queue: VecDeque<Batch<'c>>,
    /// Records and bytes in the queue.
    ahead: (usize, usize),
    room: WaitingRoom,
    stuck: bool,
    paused: BTreeSet<Partition>,
    ticks: Interval,
    /// Whether the batch that was started last had not waited before.
    last_was_fresh: bool,
    /// Events skipped as too old and not yet reported.
    skipped: usize,
}

/// Moves records until `shutdown`, then finishes the batch in hand, for at most `grace`.
///
/// # Errors
/// When the client says that this member of the group cannot go on.
pub async fn run<P: Publisher, D: OwnerDirectory>(
    consumer: &Consumer,
    stage: &Stage<P, D>,
    patience: Duration,
    waiting_limit: usize,
    shutdown: CancellationToken,
    grace: Duration,
) -> anyhow::Result<()> {
    let mut ticks = interval(RETRY_WAITING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pump = Pump {
        consumer,
        stage,
        stream: consumer.client.stream().ready_chunks(BATCH),
        under_way: UnderWay::default(),
        late_at: Instant::now(),
        queue: VecDeque::new(),
        ahead: (0, 0),
        room: WaitingRoom::new(patience, waiting_limit),
        stuck: false,
        paused: BTreeSet::new(),
        ticks,
        last_was_fresh: false,
        skipped: 0,
    };
    while !shutdown.is_cancelled() {
        if let Some(reason) = consumer.fatal_error() {
            anyhow::bail!("Kafka client: {reason}");
        }
        pump.turn(&shutdown).await;
    }
    pump.wind_up(grace).await;
    Ok(())
}

impl<'c, P: Publisher, D: OwnerDirectory> Pump<'c, P, D> {
    /// Waits for the next thing to happen and deals with it.
    async fn turn(&mut self, shutdown: &CancellationToken) {
        if self.under_way.is_empty() {
            self.start_next().await;
        }
        // One batch is judged while the one before it is being finished; when stuck, polling goes
        // on for the sake of the group.
        let may_read = self.queue.is_empty() || self.stuck;
        let busy = !self.under_way.is_empty();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => {}
            (batch, outcomes) = self.under_way.end() => {
                // Redis has work while this one is booked.
                self.start_next().await;
                self.settle(batch, &outcomes);
            }
            () = sleep_until(self.late_at), if busy && !self.stuck => self.set_stuck(true),
            _ = self.ticks.tick() => self.room.begin_round(),
            Some(chunk) = self.stream.next(), if may_read => self.read(chunk),
        }
        if self.consumer.take_assignment_changed() {
            self.renew_pauses();
        }
    }

    /// Starts the next batch: records that wait and fresh ones take turns.
    async fn start_next(&mut self) {
        let fresh = if self.last_was_fresh { None } else { self.next_fresh() };
        let next = fresh.or_else(|| self.next_waiting()).or_else(|| self.next_fresh());
        let Some(batch) = next else { return };
        self.last_was_fresh = !batch.waited;
        self.late_at = Instant::now() + STUCK_AFTER;
        self.under_way.start(self.stage.finish(batch).boxed()).await;
    }

    fn next_fresh(&mut self) -> Option<Batch<'c>> {
        let batch = self.queue.pop_front()?;
        let (records, bytes) = batch.size();
        self.ahead = (self.ahead.0 - records, self.ahead.1 - bytes);
        Some(batch)
    }

    fn next_waiting(&mut self) -> Option<Batch<'c>> {
        let waiting = self.room.len();
        let records = self.room.next_due(BATCH, &self.consumer.offsets(), Instant::now());
        self.stage.count_revoked(waiting - self.room.len());
        (!records.is_empty()).then(|| self.judged(records, true))
    }

    fn read(&mut self, chunk: Vec<KafkaResult<BorrowedMessage<'c>>>) {
        self.consumer.set_keeps_up(chunk.len() < BATCH);
        let mut records = Vec::with_capacity(chunk.len());
        {
            let mut offsets = self.consumer.offsets();
            for message in chunk {
                match message {
                    Ok(message) => {
                        let (topic, partition) = (message.topic(), message.partition());
                        let lease = offsets.read(topic, partition, message.offset());
                        records.push(InHand::new(message, lease));
                    }
                    // The client recovers by itself; its context has counted and said it.
                    Err(error) => debug!(%error, "no record"),
                }
            }
        }
        self.stage.count_read(&records);
        if !records.is_empty() {
            let batch = self.judged(records, false);
            self.enqueue(batch);
        }
    }

    fn enqueue(&mut self, batch: Batch<'c>) {
        let (records, bytes) = batch.size();
        self.ahead = (self.ahead.0 + records, self.ahead.1 + bytes);
        match self.queue.back_mut() {
            Some(last) if last.records.len() + records <= BATCH => last.append(batch),
            _ => self.queue.push_back(batch),
        }
        if self.is_full() {
            self.apply_pauses();
        }
    }

    fn is_full(&self) -> bool {
        self.stuck && (self.ahead.0 >= MOST_AHEAD.0 || self.ahead.1 >= MOST_AHEAD.1)
    }

    fn judged(&self, mut records: Vec<InHand<'c>>, waited: bool) -> Batch<'c> {
        let classifications = self.stage.judge(&mut records);
        Batch { records, classifications, waited }
    }

    /// Books the outcomes of a batch.
    fn settle(&mut self, batch: Batch<'c>, outcomes: &[Outcome]) {
        let tried = if batch.waited { batch.records.len() } else { 0 };
        let now = (Timestamp::now(), Instant::now());
        {
            let mut offsets = self.consumer.offsets();
            for ((mut record, classification), outcome) in
                batch.records.into_iter().zip(&batch.classifications).zip(outcomes)
            {
                self.stage.count(&record, classification, outcome, now);
                if *outcome == Outcome::OwnerUnknown {
                    self.room.admit(record);
                } else {
                    spans::settled(record.trace.take(), outcome);
                    let (partition, offset) = (record.partition(), record.offset());
                    offsets.finish(record.topic(), partition, offset, record.lease);
                }
            }
        }
        self.report_skipped(outcomes);
        self.consumer.store_finished();
        self.room.returned(tried);
        self.stage.count_parked(self.room.len());
        if self.stuck {
            self.set_stuck(false);
        } else {
            self.apply_pauses();
        }
    }

    /// Says how many events were too old, once newer ones follow.
    fn report_skipped(&mut self, outcomes: &[Outcome]) {
        let too_old = Outcome::Ignored(IgnoreReason::TooOld);
        let skipped = outcomes.iter().filter(|outcome| **outcome == too_old).count();
        self.skipped += skipped;
        if self.skipped > 0 && skipped < outcomes.len() {
            info!(events = self.skipped, "skipped events older than MAX_EVENT_AGE");
            self.skipped = 0;
        }
    }

    fn set_stuck(&mut self, stuck: bool) {
        self.stuck = stuck;
        self.stage.metrics.paused.set(stuck.into());
        self.stage.readiness.set("delivering", !stuck);
        self.apply_pauses();
    }

    /// After a rebalance: what came back comes unpaused, and what is gone is not to be resumed.
    fn renew_pauses(&mut self) {
        let assigned = self.consumer.assigned();
        self.paused.retain(|partition| assigned.contains(partition));
        self.consumer.set_paused(&self.paused, true);
        self.apply_pauses();
    }

    /// Pauses what is to be paused and resumes the rest.
    fn apply_pauses(&mut self) {
        let assigned = || self.consumer.assigned();
        let Some(wanted) = (if self.is_full() { Some(assigned()) } else { self.room.to_pause() })
        else {
            return;
        };
        if wanted == self.paused {
            return;
        }
        let resume = self.paused.difference(&wanted).cloned().collect();
        let pause: BTreeSet<Partition> = wanted.difference(&self.paused).cloned().collect();
        info!(paused = wanted.len(), "pausing partitions changed");
        self.consumer.set_paused(&resume, false);
        self.consumer.set_paused(&pause, true);
        self.paused = wanted;
    }

    /// Finishes the batch in hand; what is queued behind it is read again by whoever is next.
    async fn wind_up(&mut self, grace: Duration) {
        if self.under_way.is_empty() {
            return;
        }
        let in_time = timeout(grace, self.under_way.end()).await;
        if let Ok((batch, outcomes)) = in_time {
            self.settle(batch, &outcomes);
        } else {
            warn!("a batch could not be finished in time; it will be read again");
        }
    }
}
