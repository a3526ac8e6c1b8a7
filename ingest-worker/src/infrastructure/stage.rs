//! What happens to a batch once it is read: delivered, its dead letters written, its outcomes
//! counted. Retries for as long as it takes.

use shared::{admin::Readiness, time::Timestamp};
use tracing::{debug, warn};

use super::{dead_letters::DeadLetters, message::InHand, retry};
use crate::{
    domain::{
        processor::{Processor, Verdict},
        recipients::OwnerDirectory,
        record::{Outcome, Rejection},
    },
    metrics::Metrics,
    notification::publisher::Publisher,
};

/// What the pump works with.
#[derive(Debug)]
pub struct Stage<P, D> {
    /// Decides and tells.
    pub processor: Processor<P, D>,
    /// Takes what cannot be used.
    pub dead_letters: DeadLetters,
    /// Counts.
    pub metrics: Metrics,
    /// Says whether records can be finished.
    pub readiness: Readiness,
}

/// Records that are finished together.
pub(super) struct Batch<'c> {
    pub(super) records: Vec<InHand<'c>>,
    pub(super) verdicts: Vec<Verdict>,
    /// Whether they come from the waiting room.
    pub(super) waited: bool,
}

impl<'c> Batch<'c> {
    /// How many records and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.records.len(), self.records.iter().map(InHand::size).sum())
    }

    /// Adds the records of another, which were read later.
    pub(super) fn append(&mut self, mut later: Batch<'c>) {
        self.records.append(&mut later.records);
        self.verdicts.append(&mut later.verdicts);
    }
}

impl<P: Publisher, D: OwnerDirectory> Stage<P, D> {
    /// Delivers a batch and writes its dead letters, for as long as it takes.
    pub(super) async fn finish<'c>(&self, batch: Batch<'c>) -> (Batch<'c>, Vec<Outcome>) {
        let metrics = &self.metrics;
        metrics.batches.inc();
        let timer = metrics.delivery.start_timer();
        let deliver = || self.processor.deliver(&batch.verdicts);
        let outcomes = retry::until_done(metrics, deliver).await;
        timer.observe_duration();
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
    /// Counts an outcome, and logs what somebody may have to look at.
    pub(super) fn count(&self, record: &InHand<'_>, verdict: &Verdict, outcome: &Outcome) {
        let metrics = &self.metrics;
        if *outcome != Outcome::OwnerUnknown {
            metrics.outcomes.with_label_values(&[verdict.event_type, outcome.label()]).inc();
        }
        match outcome {
            Outcome::Published => {
                if let Some(written_at) = record.record().written_at {
                    let age = Timestamp::now().duration_since(written_at);
                    metrics.latency.observe(age.as_secs_f64().max(0.0));
                }
            }
            Outcome::Ignored(reason) => metrics.ignored.with_label_values(&[reason.label()]).inc(),
            Outcome::DeadLetter(rejection) => {
                metrics.dead_letters.with_label_values(&[rejection.reason.label()]).inc();
                warn!(
                    kafka.topic = record.topic(),
                    kafka.partition = record.partition(),
                    kafka.offset = record.offset(),
                    event.type = verdict.event_type,
                    source_service = verdict.source.service,
                    correlation_id = verdict.source.correlation_id,
                    reason = rejection.reason.label(),
                    detail = rejection.detail,
                    "record dead-lettered"
                );
            }
            Outcome::Duplicate | Outcome::OwnerUnknown => {}
        }
        debug!(
            kafka.topic = record.topic(),
            kafka.partition = record.partition(),
            kafka.offset = record.offset(),
            event.type = verdict.event_type,
            source_service = verdict.source.service,
            correlation_id = verdict.source.correlation_id,
            outcome = outcome.label(),
            "record settled"
        );
    }
}
