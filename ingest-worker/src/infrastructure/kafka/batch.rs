//! Batches of records and their way through the domain: classified as soon as they are read,
//! delivered one batch at a time. An outage of a backend is retried here; what concerns single
//! records is an outcome.

use std::{sync::Arc, time::SystemTime};

use shared::{time::Timestamp, trace::Tracer};

use super::{
    offsets::{Offsets, Partition},
    record::{InFlightRecord, SourceRecord},
    retry, tracing,
};
use crate::{
    domain::{
        classify::{Classification, Classifier},
        dispatch::{Dispatched, Dispatcher},
        ordering::HeldKeys,
        recipients::OwnerDirectory,
        record::{IgnoreReason, Outcome, ParkReason, Restore},
    },
    metrics::Metrics,
    notification::publisher::{Publisher, StoredWatermark, TransientError, Watermark},
};

/// Classified records that are delivered together, in order.
#[derive(Debug)]
pub(crate) struct Batch<R> {
    pub(crate) records: Vec<InFlightRecord<R>>,
    pub(crate) classifications: Vec<Classification>,
    /// Whether the records were parked.
    pub(crate) is_retry: bool,
    /// Whether an attempt to deliver it has failed: its notifications may have been published.
    pub(crate) was_tried: bool,
    /// The watermarks to write with its notifications.
    pub(crate) watermarks: WatermarkWrite,
}

/// Watermarks that are written together.
#[derive(Debug, Default)]
pub(crate) struct WatermarkWrite {
    /// The partition of each.
    pub(crate) partitions: Vec<Partition>,
    pub(crate) watermarks: Vec<Watermark>,
    /// What the servers hold of them afterwards; empty if none was written.
    pub(crate) stored: Vec<StoredWatermark>,
}

/// A batch and the outcome of each of its records.
pub(crate) type Delivered<R> = (Batch<R>, Vec<Outcome>);

/// The end of a delivery.
#[derive(Debug)]
pub(crate) enum Delivery<R> {
    Complete(Delivered<R>),
    /// Redis has lost data before an attempt was repeated. The batch has the watermarks that show
    /// it, and is delivered after what is lost.
    Interrupted(Batch<R>),
}

/// What one attempt to deliver a batch came to.
enum Attempted {
    Dispatched(Dispatched),
    /// Redis has lost data before it, as these watermarks show; none if it is unavailable.
    Withheld(Vec<StoredWatermark>),
}

impl WatermarkWrite {
    /// Keeps the watermarks of which the servers hold something unexpected.
    fn retain_changed(&mut self, stored: Vec<StoredWatermark>) {
        let Self { partitions, watermarks, .. } = std::mem::take(self);
        for ((partition, known), stored) in partitions.into_iter().zip(watermarks).zip(stored) {
            if known.has_changed(&stored) {
                self.partitions.push(partition);
                self.watermarks.push(known);
                self.stored.push(stored);
            }
        }
    }
}

impl<R: SourceRecord> Batch<R> {
    /// Returns the number of records, and their bytes in memory with those of their notifications:
    /// a short list in a record can be a long one in a notification.
    pub(crate) fn size(&self) -> (usize, usize) {
        let records: usize = self.records.iter().map(InFlightRecord::memory).sum();
        let notifications: usize = self.classifications.iter().map(Classification::memory).sum();
        (self.records.len(), records + notifications)
    }

    /// Adds the records of a batch that was read later.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.records.append(&mut later.records);
        self.classifications.append(&mut later.classifications);
    }

    /// Removes the records whose partitions were revoked; returns how many.
    pub(crate) fn drop_revoked(&mut self, offsets: &Offsets) -> usize {
        let before = self.records.len();
        let records = std::mem::take(&mut self.records);
        let classifications = std::mem::take(&mut self.classifications);
        let all = records.into_iter().zip(classifications);
        let current = all.filter(|(record, _)| {
            offsets.is_current(record.topic(), record.partition(), record.state.id)
        });
        (self.records, self.classifications) = current.unzip();
        before - self.records.len()
    }
}

/// Classifies and delivers batches.
#[derive(Debug)]
pub(crate) struct BatchProcessor<P, D> {
    pub(crate) classifier: Classifier,
    pub(crate) dispatcher: Dispatcher<P, D>,
    pub(crate) metrics: Metrics,
    pub(crate) tracer: Option<Tracer>,
}

impl<P: Publisher, D: OwnerDirectory> BatchProcessor<P, D> {
    /// Classifies records.
    pub(crate) fn classify<R: SourceRecord>(
        &self,
        mut records: Vec<InFlightRecord<R>>,
        is_retry: bool,
    ) -> Batch<R> {
        let now = Timestamp::now();
        let classify =
            |record: &InFlightRecord<R>| self.classifier.classify_caught(|| record.record(), now);
        let since = self.tracer.as_ref().map(|tracer| (tracer, SystemTime::now()));
        let mut classifications: Vec<Classification> = records.iter().map(classify).collect();
        if let Some((tracer, since)) = since {
            tracing::classified(tracer, &mut records, &mut classifications, since);
        }
        let watermarks = WatermarkWrite::default();
        Batch { records, classifications, is_retry, was_tried: false, watermarks }
    }

    /// Classifies records again that are below the position from which their partition was rewound,
    /// if that was not known when they were read.
    pub(crate) fn mark_reread<R: SourceRecord>(&self, batch: &mut Batch<R>, offsets: &Offsets) {
        let now = Timestamp::now();
        for (record, classification) in batch.records.iter_mut().zip(&mut batch.classifications) {
            let is_reread = offsets.is_reread(record.topic(), record.partition(), record.offset());
            if !is_reread || record.state.is_reread {
                continue;
            }
            record.state.is_reread = true;
            let record = &*record;
            *classification = self.classifier.classify_caught(|| record.record(), now);
            if let Some(span) = &record.state.span {
                classification.set_traceparent(span.traceparent());
            }
        }
    }

    /// Delivers a batch. During an outage a fresh batch is retried until it succeeds, which holds
    /// up all records behind it; one of parked records is parked again.
    pub(crate) async fn deliver<R: SourceRecord>(
        &self,
        mut batch: Batch<R>,
        held: Arc<HeldKeys>,
    ) -> Delivery<R> {
        let metrics = &self.metrics;
        metrics.batches.inc();
        let timer = metrics.delivery.start_timer();
        let since = self.tracer.as_ref().map(|tracer| (tracer, SystemTime::now()));
        let mut is_repeated = false;
        let mut attempt = || self.attempt(&batch, &held, std::mem::replace(&mut is_repeated, true));
        let attempted = if batch.is_retry {
            attempt().await.unwrap_or_else(|error| {
                metrics.retries.of(error.system).inc();
                Attempted::Withheld(Vec::new())
            })
        } else {
            retry::until_success(metrics, attempt).await
        };
        timer.observe_duration();
        let outcomes = match attempted {
            Attempted::Dispatched((outcomes, stored)) => {
                batch.watermarks.stored = stored;
                outcomes
            }
            Attempted::Withheld(stored) => {
                batch.watermarks.retain_changed(stored);
                if !batch.is_retry {
                    batch.was_tried = true;
                    return Delivery::Interrupted(batch);
                }
                batch.records.iter_mut().map(parked_again).collect()
            }
        };
        if let Some((tracer, since)) = since {
            tracing::published(tracer, &batch.records, since);
        }
        let records = batch.records.iter().zip(outcomes);
        let outcomes = records.map(|(record, outcome)| unless_rewound(record, outcome)).collect();
        Delivery::Complete((batch, outcomes))
    }

    /// Attempts to deliver a batch. What Redis has lost since the last attempt is published before
    /// it, so that the order of each user is kept.
    async fn attempt<R: SourceRecord>(
        &self,
        batch: &Batch<R>,
        held: &HeldKeys,
        is_repeated: bool,
    ) -> Result<Attempted, TransientError> {
        let watermarks = &batch.watermarks.watermarks;
        if (is_repeated || batch.is_retry) && !watermarks.is_empty() {
            let sources: Vec<_> =
                watermarks.iter().map(|watermark| Arc::clone(&watermark.source)).collect();
            let stored = self.dispatcher.publisher.watermarks(&sources).await?;
            if watermarks.iter().zip(&stored).any(|(known, stored)| known.has_changed(stored)) {
                return Ok(Attempted::Withheld(stored));
            }
        }
        let may_be_published = is_repeated || batch.was_tried;
        let classifications = &batch.classifications;
        let dispatch =
            self.dispatcher.dispatch(classifications, held, watermarks, may_be_published);
        Ok(Attempted::Dispatched(dispatch.await?))
    }

    /// Reads the time and then the watermarks of partitions, during an outage until it succeeds:
    /// what is published after a loss that they show is newer.
    pub(crate) async fn watermarks(&self, sources: &[Arc<str>]) -> (Vec<StoredWatermark>, i64) {
        let publisher = &self.dispatcher.publisher;
        let read = || async {
            let at = publisher.time().await?;
            Ok((publisher.watermarks(sources).await?, at))
        };
        retry::until_success(&self.metrics, read).await
    }

    /// Writes watermarks without a batch, during an outage until it succeeds.
    pub(crate) async fn write_watermarks(&self, write: &mut WatermarkWrite) {
        let publish = || self.dispatcher.publisher.publish(&[], &write.watermarks);
        write.stored = retry::until_success(&self.metrics, publish).await.watermarks;
    }
}

/// Returns the outcome of a record that was delivered: one that is only read again to restore its
/// notification becomes no dead letter a second time.
fn unless_rewound<R>(record: &InFlightRecord<R>, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::DeadLetter(_) if record.state.was_finished() => {
            Outcome::Ignored(IgnoreReason::Rewound)
        }
        outcome => outcome,
    }
}

/// The outcome of a parked record whose delivery has failed; it may have been published.
fn parked_again<R>(record: &mut InFlightRecord<R>) -> Outcome {
    record.state.restore.get_or_insert(Restore::Unfinished);
    let parked = record.state.parked.as_ref().expect("a batch of parked records");
    let reason = match parked.reason {
        // It waits for no other record any more, and would be tried again at once.
        ParkReason::Order => ParkReason::RedisRefused,
        reason => reason,
    };
    Outcome::parked(reason, parked.keys.clone(), None)
}

#[cfg(test)]
mod tests;
