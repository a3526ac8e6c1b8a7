//! Counts and logs what happens to records, and sets the readiness condition `delivering`.
//!
//! Every record that is counted as read is later counted once as finished or as revoked.

use shared::{admin::Readiness, time::Timestamp, trace::EventSpan};
use tokio::time::Instant;
use tracing::{
    debug,
    field::{self, Value},
    info, warn,
};

use crate::{
    domain::{
        classify::Classification,
        record::{IgnoreReason, Outcome, ParkReason, Parking, Rejection},
    },
    metrics::{Metrics, RewindReason},
    notification::publisher::TransientError,
};

/// The readiness condition that batches are finished in time.
pub(crate) const DELIVERING: &str = "delivering";

/// A record, as log lines and metrics name it.
#[derive(Debug)]
pub(crate) struct RecordInfo<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) written_at: Option<Timestamp>,
    /// When it was read.
    pub(crate) since: Instant,
    pub(crate) span: Option<&'a EventSpan>,
}

impl RecordInfo<'_> {
    fn trace_id(&self) -> Option<impl Value> {
        self.span.map(|span| field::display(span.trace_id()))
    }
}

/// The metrics and the readiness of record processing. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Accounting {
    metrics: Metrics,
    readiness: Readiness,
}

impl Accounting {
    pub(crate) fn new(metrics: Metrics, readiness: Readiness) -> Self {
        Self { metrics, readiness }
    }

    /// Counts records that were read; takes the time at which each was written, and how many were
    /// finished before.
    pub(crate) fn read(
        &self,
        written_at: impl ExactSizeIterator<Item = Option<Timestamp>>,
        rewound: usize,
    ) {
        self.metrics.rewound.inc_by(rewound as u64);
        self.metrics.consumed.inc_by(written_at.len() as u64);
        self.metrics.in_flight.add(signed(written_at.len()));
        let now = Timestamp::now();
        for written_at in written_at.flatten() {
            self.metrics.kafka_wait.observe(seconds_between(written_at, now));
        }
    }

    /// Counts and logs that a partition is read again from offset `from` to before `until`.
    pub(crate) fn rewound(
        &self,
        (topic, partition): &(String, i32),
        from: i64,
        until: i64,
        reason: RewindReason,
    ) {
        self.metrics.rewinds.of(reason).inc();
        let reason = reason.label();
        warn!(
            kafka.topic = topic,
            kafka.partition = partition,
            from,
            until,
            reason,
            "Redis has lost data, reading the partition again to restore them"
        );
    }

    /// Counts unfinished records that were dropped because their partition was revoked.
    pub(crate) fn revoked(&self, records: usize) {
        self.metrics.revoked.inc_by(records as u64);
        self.metrics.in_flight.sub(signed(records));
    }

    /// Counts a record that is parked now, and was parked for `before` until now.
    pub(crate) fn parked(
        &self,
        record: &RecordInfo<'_>,
        parking: &Parking,
        before: Option<ParkReason>,
    ) {
        if before != Some(parking.reason) {
            self.unparked(before);
            self.park(record, parking.reason, parking.error.as_ref());
        }
    }

    /// Counts a dead letter that the topic refused.
    pub(crate) fn dead_letter_refused(&self, record: &RecordInfo<'_>, error: &TransientError) {
        self.park(record, ParkReason::DeadLetterRefused, Some(error));
    }

    fn park(&self, record: &RecordInfo<'_>, reason: ParkReason, error: Option<&TransientError>) {
        let parked = self.metrics.parked.of(reason);
        parked.inc();
        // One line when records begin to be parked for a reason; the metric has their number.
        if parked.get() == 1 && reason != ParkReason::Order {
            info!(
                kafka.topic = record.topic,
                kafka.partition = record.partition,
                kafka.offset = record.offset,
                trace_id = record.trace_id(),
                reason = reason.label(),
                error = error.map(field::display),
                "record parked, retrying with back-off"
            );
        }
    }

    /// Counts a failed attempt that is made again.
    pub(crate) fn retried(&self, error: &TransientError) {
        self.metrics.retries.of(error.system).inc();
    }

    /// Counts a record that is no longer parked for a reason.
    pub(crate) fn unparked(&self, reason: Option<ParkReason>) {
        if let Some(reason) = reason {
            self.metrics.parked.of(reason).dec();
        }
    }

    /// Counts and logs a final outcome that was reached at `now`.
    pub(crate) fn finished(
        &self,
        record: &RecordInfo<'_>,
        classification: &Classification,
        outcome: &Outcome,
        now: (Timestamp, Instant),
    ) {
        let Some(kind) = outcome.kind() else { return };
        let Classification { event_type, source, .. } = classification;
        self.metrics.outcomes.of((*event_type, kind)).inc();
        self.metrics.in_flight.dec();
        match outcome {
            Outcome::Published => {
                self.metrics.processing.observe((now.1 - record.since).as_secs_f64());
                if let Some(written_at) = record.written_at {
                    self.metrics.latency.observe(seconds_between(written_at, now.0));
                }
            }
            Outcome::Ignored(reason) => self.metrics.ignored.of(*reason).inc(),
            Outcome::DeadLetter(rejection) => self.dead_lettered(record, classification, rejection),
            Outcome::Restored | Outcome::Duplicate | Outcome::Parked(_) => {}
        }
        debug!(
            kafka.topic = record.topic,
            kafka.partition = record.partition,
            kafka.offset = record.offset,
            event.type = event_type.name(),
            source_service = source.service,
            correlation_id = source.correlation_id,
            trace_id = record.trace_id(),
            outcome = kind.label(),
            "record finished"
        );
    }

    fn dead_lettered(
        &self,
        record: &RecordInfo<'_>,
        classification: &Classification,
        rejection: &Rejection,
    ) {
        self.metrics.dead_letters.of(rejection.reason).inc();
        let Classification { event_type, source, .. } = classification;
        warn!(
            kafka.topic = record.topic,
            kafka.partition = record.partition,
            kafka.offset = record.offset,
            event.type = event_type.name(),
            source_service = source.service,
            correlation_id = source.correlation_id,
            trace_id = record.trace_id(),
            reason = rejection.reason.label(),
            detail = rejection.detail,
            "record dead-lettered"
        );
    }

    /// Notes whether the batch in progress takes too long.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.metrics.batch_stuck.set(stuck.into());
        self.readiness.set(DELIVERING, !stuck);
    }
}

/// Logs the number of events ignored as too old, once younger ones follow.
#[derive(Debug, Default)]
pub(crate) struct TooOldEvents(usize);

impl TooOldEvents {
    /// Takes the outcomes of a batch.
    pub(crate) fn report(&mut self, outcomes: &[Outcome]) {
        let too_old = Outcome::Ignored(IgnoreReason::TooOld);
        let ignored = outcomes.iter().filter(|outcome| **outcome == too_old).count();
        self.0 += ignored;
        if self.0 > 0 && ignored < outcomes.len() {
            info!(events = self.0, "ignored events that are too old");
            self.0 = 0;
        }
    }
}

/// Returns the seconds from `since` to `now`; 0 if the writer's clock is ahead of this one.
fn seconds_between(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
