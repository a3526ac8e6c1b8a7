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
        record::{DeadLetterReason, ParkReason},
        routes::{NotificationSource, Routes},
    },
    infrastructure::kafka::{
        dead_letters::queue::DeadLetter,
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

fn completed(delivery: Delivery<OwnedMessage>) -> Delivered<OwnedMessage> {
    match delivery {
        Delivery::Complete(delivered) => delivered,
        Delivery::Interrupted(batch) => panic!("interrupted: {batch:?}"),
    }
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

#[test]
fn the_size_of_a_batch_contains_its_notifications_and_a_dead_letter_keeps_none() {
    let processor = processor();
    let event = processor.classify(records([created()]), false);
    let text = processor.classify(records([vec![b'x'; created().len()]]), false);
    assert!(event.size().1 > text.size().1 + 100, "{:?}, {:?}", event.size(), text.size());
    let Batch { mut records, mut classifications, .. } = event;
    let (record, classification) = (records.remove(0).into_owned(), classifications.remove(0));
    let rejection = DeadLetterReason::RecipientUnknown.with_detail("no recipient is known");
    let dead_letter = DeadLetter::new(record, classification, rejection);
    assert_eq!(dead_letter.classification.memory(), 0);
    assert_eq!(dead_letter.classification.event_type.name(), "huleedu.class.created.v1");
}

#[tokio::test(start_paused = true)]
async fn each_record_has_an_outcome_in_the_order_of_reading() {
    let processor = processor();
    let values = [created(), b"no JSON".to_vec(), created(), event("no.such.event")];
    let batch = processor.classify(records(values), false);
    let (batch, outcomes) = completed(processor.deliver(batch, Arc::default()).await);
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
    let (delivery, ()) = tokio::join!(delivery, outage);
    let (_, outcomes) = completed(delivery);
    assert_eq!(outcomes, [Outcome::Published]);
    assert!(processor.metrics.retries.of(System::Redis).get() > 0);
    assert_eq!(processor.metrics.batches.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_parked_record_that_was_tried_stays_parked_and_backs_off_during_an_outage() {
    let processor = processor();
    let keys = vec![OrderingKey::User(UserId::new("u-1").unwrap())];
    let parked = |mut record: TestRecord| {
        record.state.parked = Some(Box::new(ParkState {
            order: 1,
            reason: ParkReason::Order,
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
    let (batch, outcomes) = completed(processor.deliver(batch, Arc::default()).await);
    assert_eq!(outcomes, [Outcome::parked(ParkReason::RedisRefused, keys.clone(), None)]);
    assert_eq!(processor.metrics.retries.of(System::Redis).get(), 1);

    set_outage(&processor, false);
    let (_, outcomes) = completed(processor.deliver(batch, Arc::default()).await);
    assert_eq!(outcomes, [Outcome::Published]);
}

/// What another worker publishes after a loss, while the watermarks are read, has not survived it.
#[tokio::test]
async fn the_time_at_which_watermarks_are_read_is_not_after_it() {
    assert_eq!(processor().watermarks(&["g/t/0".into()]).await.1, 0);
}
