//! Classifier and dispatcher together, over an in-memory publisher and owner directory.

mod bad_records;
mod fixtures;
mod idempotency;
mod ownership;

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};
use shared::{
    time::{self, Timestamp},
    user::UserId,
};
use uuid::Uuid;

use super::{
    classify::{Classification, Classifier},
    dispatch::Dispatcher,
    idempotency::IdentityRule,
    ordering::{HeldKeys, OrderingKey},
    recipients::{FakeDirectory, OwnedEntity},
    record::{DeadLetterReason, IgnoreReason, Outcome, ParkReason, Record, Restore},
    routes::{NotificationSource, Routes},
};
use crate::notification::{
    loss_time::LossTime,
    publisher::{FakePublisher, PublishOutcome, System, TransientError},
};

/// The domain with in-memory backends.
struct Pipeline {
    classifier: Classifier,
    dispatcher: Dispatcher<FakePublisher, FakeDirectory>,
}

impl Pipeline {
    fn new() -> Self {
        Self::with_max_age(None)
    }

    fn with_max_age(max_age: Option<Duration>) -> Self {
        Self::with_source(NotificationSource::Both, max_age)
    }

    fn with_source(source: NotificationSource, max_age: Option<Duration>) -> Self {
        let routes = Routes::new(source, |topic| topic.default.to_owned());
        Self {
            classifier: Classifier::new(routes, IdentityRule::EventId, max_age)
                .with_max_size(64 << 10),
            dispatcher: Dispatcher::new(FakePublisher::default(), FakeDirectory::default()),
        }
    }

    fn publisher(&self) -> &FakePublisher {
        &self.dispatcher.publisher
    }

    /// The notifications published so far.
    fn published(&self) -> Vec<Value> {
        let published = self.publisher().published.lock().unwrap();
        published.iter().map(|sent| serde_json::from_str(&sent.text).unwrap()).collect()
    }

    fn set_owner(&self, owned: OwnedEntity, user: &str) {
        let user = UserId::new(user).unwrap();
        self.dispatcher.directory.owners.lock().unwrap().insert(owned, user);
    }

    fn classify(&self, record: &Record<'_>) -> Classification {
        self.classifier.classify(record, at("2025-08-06T10:00:00Z"))
    }

    /// Processes records as one batch.
    async fn process_batch(&self, records: &[Record<'_>]) -> Result<Vec<Outcome>, TransientError> {
        let records = records.iter().map(|record| self.classify(record));
        let records = records.collect::<Vec<_>>();
        let dispatched = self.dispatcher.dispatch(&records, &HeldKeys::default(), &[], false).await;
        dispatched.map(|(outcomes, _)| outcomes)
    }

    async fn process(&self, record: Record<'_>) -> Outcome {
        self.process_batch(&[record]).await.unwrap().remove(0)
    }

    async fn process_envelope(&self, envelope: &Value) -> Outcome {
        self.process(record(envelope.to_string().as_bytes())).await
    }
}

fn record(value: &[u8]) -> Record<'_> {
    Record { topic: "any", value: Some(value), ..Record::default() }
}

fn class_created(data: &Value) -> Value {
    json!({"event_type": "huleedu.class.created.v1", "event_id": Uuid::new_v4(), "data": data})
}

fn class_created_for_u() -> String {
    class_created(&json!({"class_id": "c", "user_id": "u"})).to_string()
}

fn at(time: &str) -> Timestamp {
    time::parse(time).unwrap()
}

#[tokio::test]
async fn an_unknown_type_is_routed_by_its_topic_or_else_ignored() {
    let pipeline = Pipeline::new();
    let envelope = json!({"event_type": "v2", "data": {"class_id": "c", "user_id": "u"}});
    let envelope = envelope.to_string();
    let on = async |topic| pipeline.process(Record { topic, ..record(envelope.as_bytes()) }).await;
    assert_eq!(on("huleedu.class.created.v1").await, Outcome::Published);
    assert_eq!(on("elsewhere").await, Outcome::Ignored(IgnoreReason::NoRoute));
}

#[tokio::test]
async fn a_known_type_on_another_types_topic_is_routed_by_its_type_or_ignored() {
    let request = json!({"event_type": "huleedu.notification.teacher.requested.v1", "data": {
        "teacher_id": "u", "class_id": "c", "notification_type": "class_created",
        "category": "class_management", "priority": "standard"}});
    let request = request.to_string();
    let on_class_topic =
        || Record { topic: "huleedu.class.created.v1", ..record(request.as_bytes()) };
    let pipeline = Pipeline::with_source(NotificationSource::Domain, None);
    let outcome = pipeline.process(on_class_topic()).await;
    assert_eq!(outcome, Outcome::Ignored(IgnoreReason::OtherSource));
    let pipeline = Pipeline::with_source(NotificationSource::Teacher, None);
    assert_eq!(pipeline.process(on_class_topic()).await, Outcome::Published);
}

#[tokio::test]
async fn a_record_older_than_the_limit_is_ignored() {
    let pipeline = Pipeline::with_max_age(Some(Duration::from_hours(1)));
    let envelope = class_created_for_u();
    for (written_at, expected) in [
        ("2025-08-06T08:59:59Z", Outcome::Ignored(IgnoreReason::TooOld)),
        ("2025-08-06T09:00:01Z", Outcome::Published),
        ("2026-01-01T00:00:00Z", Outcome::Duplicate),
    ] {
        let record = Record { written_at: Some(at(written_at)), ..record(envelope.as_bytes()) };
        assert_eq!(pipeline.process(record).await, expected, "{written_at}");
    }
}

/// It was published in time, and is older by now.
#[tokio::test]
async fn what_is_restored_may_be_older_than_the_limit_unless_it_was_not_finished() {
    let mut pipeline = Pipeline::with_max_age(Some(Duration::from_hours(1)));
    pipeline.classifier = pipeline.classifier.with_max_restored_age(Duration::from_hours(24));
    let envelope = class_created_for_u();
    let (yesterday, before) = ("2025-08-05T11:00:00Z", "2025-08-05T09:00:00Z");
    let too_old = Outcome::Ignored(IgnoreReason::TooOld);
    for (restore, written_at, expected) in [
        (Restore::Unfinished, yesterday, too_old.clone()),
        (Restore::Publish, before, too_old),
        (Restore::Publish, yesterday, Outcome::Restored),
        (Restore::HistoryOnly(LossTime::default()), yesterday, Outcome::Duplicate),
    ] {
        let (restore, written_at) = (Some(restore), Some(at(written_at)));
        let record = Record { written_at, restore, ..record(envelope.as_bytes()) };
        assert_eq!(pipeline.process(record).await, expected, "{restore:?}, {written_at:?}");
    }
}

#[tokio::test]
async fn an_invalid_time_falls_back_to_the_envelope_and_then_to_the_record() {
    let pipeline = Pipeline::new();
    for (timestamp, event_timestamp, expected) in [
        ("2025-08-06T09:15:30", "2025-08-06T09:15:31Z", "2025-08-06T09:15:30Z"),
        ("soon", "2025-08-06T09:15:31Z", "2025-08-06T09:15:31Z"),
        ("soon", "later", "2025-08-06T09:15:32Z"),
    ] {
        let mut envelope =
            class_created(&json!({"class_id": "c", "user_id": "u", "timestamp": timestamp}));
        envelope["event_timestamp"] = event_timestamp.into();
        let value = envelope.to_string();
        let written_at = Some(at("2025-08-06T09:15:32Z"));
        pipeline.process(Record { written_at, ..record(value.as_bytes()) }).await;
        assert_eq!(pipeline.published().last().unwrap()["timestamp"], expected);
    }
}

#[tokio::test]
async fn after_an_outage_of_the_publisher_the_same_batch_is_published_once() {
    let pipeline = Pipeline::new();
    let envelope = class_created_for_u();
    let batch = [record(envelope.as_bytes())];
    pipeline.publisher().fails.store(true, Ordering::Relaxed);
    assert!(pipeline.process_batch(&batch).await.is_err());
    pipeline.publisher().fails.store(false, Ordering::Relaxed);
    assert_eq!(pipeline.process_batch(&batch).await.unwrap(), [Outcome::Published]);
}

#[tokio::test]
async fn what_can_never_be_published_is_dead_lettered_and_the_rest_is_published() {
    let invalid = PublishOutcome::Invalid("invalid user");
    let outcomes = outcomes_with_unpublished("}", invalid).await;
    let rejected = DeadLetterReason::Malformed.with_detail("invalid user");
    assert_eq!(outcomes, [Outcome::Published, Outcome::DeadLetter(rejected), Outcome::Published]);
}

#[tokio::test]
async fn what_the_store_refuses_is_to_be_retried_and_the_rest_is_published() {
    let error = TransientError { system: System::Redis, detail: "refused".into() };
    let outcomes = outcomes_with_unpublished("v", PublishOutcome::Refused(error.clone())).await;
    let keys = [OwnedEntity::Class("c".into())].map(OrderingKey::Entity).into_iter();
    let keys = keys.chain([OrderingKey::User(UserId::new("v").unwrap())]).collect();
    let refused = Outcome::parked(ParkReason::RedisRefused, keys, Some(error));
    assert_eq!(outcomes, [Outcome::Published, refused, Outcome::Published]);
    assert_eq!(outcomes[1].kind(), None);
}

/// The outcomes of three events, the second for `user`, whose notifications are not published.
async fn outcomes_with_unpublished(user: &str, outcome: PublishOutcome) -> Vec<Outcome> {
    let mut pipeline = Pipeline::new();
    pipeline.dispatcher.publisher.unpublished = Some((UserId::new(user).unwrap(), outcome));
    let class = |user: &str| class_created(&json!({"class_id": "c", "user_id": user})).to_string();
    let values = [class("a"), class(user), class("z")];
    pipeline.process_batch(&values.each_ref().map(|v| record(v.as_bytes()))).await.unwrap()
}
