//! What happens to a batch once it is read: delivered, its dead letters written, its outcomes
//! counted. Retries for as long as it takes.

use shared::{admin::Readiness, time::Timestamp, trace::Tracer};
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{dead_letters::producer::DeadLetters, record::InHand, retry, tracing as spans};
use crate::{
    domain::{
        classify::{Classification, Classifier},
        dispatch::Dispatcher,
        recipients::OwnerDirectory,
        record::{Outcome, OutcomeKind, Rejection},
    },
    metrics::Metrics,
    notification::publisher::Publisher,
};

/// What the pump works with.
#[derive(Debug)]
pub struct Stage<P, D> {
    /// Decides and tells.
    pub classifier: Classifier,
    /// Resolves recipients and publishes.
    pub dispatcher: Dispatcher<P, D>,
    /// Takes what cannot be used.
    pub dead_letters: DeadLetters,
    /// Counts.
    pub metrics: Metrics,
    /// Says whether records can be finished.
    pub readiness: Readiness,
    /// Makes traces, if there are to be any.
    pub tracer: Option<Tracer>,
}

/// Records that are finished together.
pub(crate) struct Batch<'c> {
    pub(crate) records: Vec<InHand<'c>>,
    pub(crate) classifications: Vec<Classification>,
    /// Whether they come from the waiting room.
    pub(crate) waited: bool,
}

impl<'c> Batch<'c> {
    /// How many records and bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.records.len(), self.records.iter().map(InHand::size).sum())
    }

    /// Adds the records of another, which were read later.
    pub(crate) fn append(&mut self, mut later: Batch<'c>) {
        self.records.append(&mut later.records);
        self.classifications.append(&mut later.classifications);
    }
}

impl<P: Publisher, D: OwnerDirectory> Stage<P, D> {
    /// Decides what records are.
    pub(crate) fn judge(&self, records: &mut [InHand<'_>]) -> Vec<Classification> {
        let now = Timestamp::now();
        let judge = |record: &InHand<'_>| self.classifier.classify(&record.record(), now);
        let since = self.tracer.as_ref().map(|tracer| (tracer, SystemTime::now()));
        let mut classifications: Vec<Classification> = records.iter().map(judge).collect();
        if let Some((tracer, since)) = since {
            spans::judged(tracer, records, &mut classifications, since);
        }
        classifications
    }

    /// Delivers a batch and writes its dead letters, for as long as it takes.
    pub(crate) async fn finish<'c>(&self, batch: Batch<'c>) -> (Batch<'c>, Vec<Outcome>) {
        let metrics = &self.metrics;
        metrics.batches.inc();
        let timer = metrics.delivery.start_timer();
        let since = self.tracer.as_ref().map(|tracer| (tracer, SystemTime::now()));
        let deliver = || async {
            let outcomes = self.dispatcher.dispatch(&batch.classifications).await?;
            let refused = outcomes.iter().find_map(|outcome| match outcome {
                Outcome::Refused(error) => Some(error.clone()),
                _ => None,
            });
            refused.map_or(Ok(outcomes), Err)
        };
        let outcomes = retry::until_done(metrics, deliver).await;
        timer.observe_duration();
        if let Some((tracer, since)) = since {
            spans::delivered(tracer, &batch.records, since);
        }
        let letters: Vec<(&InHand<'_>, &Rejection)> = batch
            .records
            .iter()
            .zip(&outcomes)
            .filter_map(|(record, outcome)| match outcome {
                Outcome::DeadLetter(rejection) => Some((record, rejection)),
                _ => None,
            })
            .collect();
        if !letters.is_empty() {
            retry::until_done(metrics, || self.dead_letters.write(&letters)).await;
        }
        drop(letters);
        (batch, outcomes)
    }
}

impl<P, D> Stage<P, D> {
    /// Counts records that have just been read.
    pub(crate) fn count_read(&self, records: &[InHand<'_>]) {
        self.metrics.consumed.inc_by(records.len() as u64);
        self.metrics.in_flight.add(signed(records.len()));
        let now = Timestamp::now();
        for written_at in records.iter().filter_map(InHand::written_at) {
            self.metrics.kafka_wait.observe(lateness(written_at, now));
        }
    }

    /// Counts records that are dropped: their partition is somebody else's now.
    pub(crate) fn count_revoked(&self, records: usize) {
        self.metrics.revoked.inc_by(records as u64);
        self.metrics.in_flight.sub(signed(records));
    }

    /// Notes how many wait for their owners.
    pub(crate) fn count_parked(&self, records: usize) {
        self.metrics.parked.set(signed(records));
    }

    /// Counts an outcome that is there `now`, and logs what somebody may have to look at.
    pub(crate) fn count(
        &self,
        record: &InHand<'_>,
        classification: &Classification,
        outcome: &Outcome,
        now: (Timestamp, Instant),
    ) {
        let metrics = &self.metrics;
        if let Some(end) = outcome.kind() {
            metrics.outcomes.of((classification.event_type, end)).inc();
            metrics.in_flight.dec();
        }
        match outcome {
            Outcome::Published => {
                metrics.processing.observe((now.1 - record.since).as_secs_f64());
                if let Some(written_at) = record.written_at() {
                    metrics.latency.observe(lateness(written_at, now.0));
                }
            }
            Outcome::Ignored(reason) => metrics.ignored.of(*reason).inc(),
            Outcome::DeadLetter(rejection) => {
                metrics.dead_letters.of(rejection.reason).inc();
                warn!(
                    kafka.topic = record.topic(),
                    kafka.partition = record.partition(),
                    kafka.offset = record.offset(),
                    event.type = classification.event_type.name(),
                    source_service = classification.source.service,
                    correlation_id = classification.source.correlation_id,
                    trace_id = record.trace_id(),
                    reason = rejection.reason.label(),
                    detail = rejection.detail,
                    "record dead-lettered"
                );
            }
            Outcome::Duplicate | Outcome::OwnerUnknown | Outcome::Refused(_) => {}
        }
        debug!(
            kafka.topic = record.topic(),
            kafka.partition = record.partition(),
            kafka.offset = record.offset(),
            event.type = classification.event_type.name(),
            source_service = classification.source.service,
            correlation_id = classification.source.correlation_id,
            trace_id = record.trace_id(),
            outcome = outcome.kind().map_or("waiting", OutcomeKind::label),
            "record settled"
        );
    }
}

/// The clocks of brokers and workers differ: what seems to come from the future is not late.
fn lateness(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
