//! Batches of records and their way through the domain: classified as soon as they are read,
//! delivered one batch at a time. An outage of a backend is retried here; what concerns single
//! records is an outcome.

use std::{sync::Arc, time::SystemTime};

use shared::{time::Timestamp, trace::Tracer};

use super::{
    offsets::Offsets,
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
    /// Returns the number of records and their bytes in memory.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.records.len(), self.records.iter().map(InFlightRecord::memory).sum())
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

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering, time::Duration};

    use prometheus::Registry;
    use rdkafka::message::OwnedMessage;
    use serde_json::json;
    use shared::{backoff::Backoff, user::UserId};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::{
        domain::{
            idempotency::IdentityRule,
            ordering::OrderingKey,
            recipients::FakeDirectory,
            record::{DeadLetterReason, IgnoreReason, ParkReason},
            routes::{NotificationSource, Routes},
        },
        infrastructure::kafka::{
            offsets::Offsets,
            record::ParkState,
            source::fake::{TOPIC, message},
        },
        notification::publisher::{FakePublisher, System},
    };

    type Processor = BatchProcessor<FakePublisher, FakeDirectory>;
    type TestRecord = InFlightRecord<OwnedMessage>;

    fn processor() -> Processor {
        let routes = Routes::new(NotificationSource::Domain, |topic| topic.default.to_owned());
        BatchProcessor {
            classifier: Classifier::new(routes, IdentityRule::EventId, None),
            dispatcher: Dispatcher::new(FakePublisher::default(), FakeDirectory::default()),
            metrics: Metrics::new(&Registry::new()),
            tracer: None,
        }
    }

    fn set_outage(processor: &Processor, outage: bool) {
        processor.dispatcher.publisher.fails.store(outage, Ordering::Relaxed);
    }

    fn event(event_type: &str) -> Vec<u8> {
        let data = json!({"class_id": "c-1", "user_id": "u-1"});
        let id = "0b8f6a51-6a0f-4f3f-9a39-000000000001";
        json!({"event_type": event_type, "event_id": id, "data": data}).to_string().into_bytes()
    }

    fn created() -> Vec<u8> {
        event("huleedu.class.created.v1")
    }

    /// Records with these values, from one partition.
    fn records<const N: usize>(values: [Vec<u8>; N]) -> Vec<TestRecord> {
        let mut offsets = Offsets::default();
        offsets.assign(TOPIC, 0);
        let record = |(offset, value)| {
            let admitted = offsets.read(TOPIC, 0, offset).expect("an assigned partition");
            InFlightRecord::new(message(0, offset, value), &admitted)
        };
        (0..).zip(values).map(record).collect()
    }

    fn offsets_of(batch: &Batch<OwnedMessage>) -> Vec<i64> {
        batch.records.iter().map(InFlightRecord::offset).collect()
    }

    #[test]
    fn a_batch_keeps_the_order_of_its_records_when_a_later_one_is_appended() {
        let processor = processor();
        let mut later = records([vec![0; 3], vec![0; 4], vec![0; 5]]);
        let first = later.drain(..1).collect();
        let mut batch = processor.classify(first, false);
        let fixed = batch.records[0].memory() - 3;
        assert_eq!(batch.size(), (1, fixed + 3));
        batch.append(processor.classify(later, false));
        assert_eq!((batch.size(), batch.classifications.len()), ((3, 3 * fixed + 12), 3));
        assert_eq!(offsets_of(&batch), [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn each_record_has_an_outcome_in_the_order_of_reading() {
        let processor = processor();
        let values = [created(), b"no JSON".to_vec(), created(), event("no.such.event")];
        let batch = processor.classify(records(values), false);
        let (batch, outcomes) = processor.deliver(batch, Arc::default()).await;
        assert_eq!(offsets_of(&batch), [0, 1, 2, 3]);
        let [published, rejected, duplicate, ignored] = &*outcomes else { panic!("{outcomes:?}") };
        assert_eq!((published, duplicate), (&Outcome::Published, &Outcome::Duplicate));
        assert_eq!(ignored, &Outcome::Ignored(IgnoreReason::NoRoute));
        let is_rejected = matches!(rejected, Outcome::DeadLetter(rejection)
            if rejection.reason == DeadLetterReason::NotJson);
        assert!(is_rejected, "expected a dead letter with reason not_json, got {rejected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_batch_is_retried_until_the_outage_ends() {
        let processor = processor();
        set_outage(&processor, true);
        let batch = processor.classify(records([created()]), false);
        let outage = async {
            sleep(Duration::from_mins(1)).await;
            set_outage(&processor, false);
        };
        let delivery = processor.deliver(batch, Arc::default());
        let ((_, outcomes), ()) = tokio::join!(delivery, outage);
        assert_eq!(outcomes, [Outcome::Published]);
        assert!(processor.metrics.retries.of(System::Redis).get() > 0);
        assert_eq!(processor.metrics.batches.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_record_stays_parked_for_its_reason_during_an_outage() {
        let processor = processor();
        let keys = vec![OrderingKey::User(UserId::new("u-1").unwrap())];
        let reason = ParkReason::RedisRefused;
        let parked = |mut record: TestRecord| {
            record.state.parked = Some(Box::new(ParkState {
                order: 1,
                reason,
                keys: keys.clone(),
                backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(1)),
                retry_at: Instant::now(),
                outages_before: Duration::ZERO,
                wait_expired: false,
            }));
            record
        };
        let records = records([created()]).into_iter().map(parked).collect();
        let batch = processor.classify(records, true);
        set_outage(&processor, true);
        let (batch, outcomes) = processor.deliver(batch, Arc::default()).await;
        assert_eq!(outcomes, [Outcome::parked(reason, keys.clone(), None)]);
        assert_eq!(processor.metrics.retries.of(System::Redis).get(), 1);

        set_outage(&processor, false);
        let (_, outcomes) = processor.deliver(batch, Arc::default()).await;
        assert_eq!(outcomes, [Outcome::Published]);
    }
}
