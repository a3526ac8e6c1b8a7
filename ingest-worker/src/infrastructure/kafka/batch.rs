//! Batches of records and their way through the domain: classified as soon as they are read,
//! delivered one batch at a time. An outage of a backend is retried here; what concerns single
//! records is an outcome.

use std::{sync::Arc, time::SystemTime};

use shared::{time::Timestamp, trace::Tracer};

use super::{
    record::{InFlightRecord, SourceRecord},
    retry, tracing,
};
use crate::{
    domain::{
        classify::{Classification, Classifier},
        dispatch::Dispatcher,
        ordering::HeldKeys,
        recipients::OwnerDirectory,
        record::Outcome,
    },
    metrics::Metrics,
    notification::publisher::Publisher,
};

/// Classified records that are delivered together, in order.
#[derive(Debug)]
pub(crate) struct Batch<R> {
    pub(crate) records: Vec<InFlightRecord<R>>,
    pub(crate) classifications: Vec<Classification>,
    /// Whether the records were parked.
    pub(crate) is_retry: bool,
}

/// A batch and the outcome of each of its records.
pub(crate) type Delivered<R> = (Batch<R>, Vec<Outcome>);

impl<R: SourceRecord> Batch<R> {
    /// Returns the number of records and the bytes of their values.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.records.len(), self.records.iter().map(InFlightRecord::value_size).sum())
    }

    /// Adds the records of a batch that was read later.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.records.append(&mut later.records);
        self.classifications.append(&mut later.classifications);
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
        Batch { records, classifications, is_retry }
    }

    /// Delivers a batch. During an outage a fresh batch is retried until it succeeds, which holds
    /// up all records behind it; one of parked records is parked again.
    pub(crate) async fn deliver<R: SourceRecord>(
        &self,
        batch: Batch<R>,
        held: Arc<HeldKeys>,
    ) -> Delivered<R> {
        let metrics = &self.metrics;
        metrics.batches.inc();
        let timer = metrics.delivery.start_timer();
        let since = self.tracer.as_ref().map(|tracer| (tracer, SystemTime::now()));
        let dispatch = || self.dispatcher.dispatch(&batch.classifications, &held);
        let outcomes = if batch.is_retry {
            dispatch().await.unwrap_or_else(|error| {
                metrics.retries.of(error.system).inc();
                batch.records.iter().map(parked_again).collect()
            })
        } else {
            retry::until_success(metrics, dispatch).await
        };
        timer.observe_duration();
        if let Some((tracer, since)) = since {
            tracing::published(tracer, &batch.records, since);
        }
        (batch, outcomes)
    }
}

/// The outcome of a parked record that could not be tried.
fn parked_again<R>(record: &InFlightRecord<R>) -> Outcome {
    let parked = record.state.parked.as_ref().expect("a batch of parked records");
    Outcome::parked(parked.reason, parked.keys.clone(), None)
}
