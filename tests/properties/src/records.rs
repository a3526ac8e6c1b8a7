//! Properties of processing a record: it never panics, every record has one outcome, and what is
//! published is a notification of the contract.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use ingest_worker::{
    domain::{
        classify::Classifier,
        dispatch::Dispatcher,
        idempotency::IdentityRule,
        ordering::HeldKeys,
        recipients::{OwnedEntity, OwnerAnswers, OwnerDirectory},
        record::{Outcome, Record},
        routes::{NotificationSource, ROUTES, Routes},
    },
    notification::publisher::{
        OutgoingNotification, PublishOutcome, Published, Publisher, StoredWatermark,
        TransientError, Watermark,
    },
};
use serde_json::Value;
use shared::{time::Timestamp, user::UserId};
use ws_gateway::protocol::Frame;

/// The keys of a notification without the `id` that Redis assigns.
const KEYS: [&str; 8] =
    ["event", "category", "priority", "timestamp", "user_id", "event_id", "correlation_id", "data"];
/// Keys that `data` repeats.
const REPEATED: [&str; 3] = ["timestamp", "category", "priority"];

/// Collects what is published.
#[derive(Debug, Default)]
struct Collector(Mutex<Vec<OutgoingNotification>>);

impl Publisher for &Collector {
    async fn publish(
        &self,
        deliveries: &[OutgoingNotification],
        _: &[Watermark],
    ) -> Result<Published, TransientError> {
        self.0.lock().expect("the lock is not poisoned").extend_from_slice(deliveries);
        let outcomes = vec![PublishOutcome::Published; deliveries.len()];
        Ok(Published { outcomes, watermarks: Vec::new() })
    }

    async fn watermarks(&self, _: &[Arc<str>]) -> Result<Vec<StoredWatermark>, TransientError> {
        Ok(Vec::new())
    }

    async fn time(&self) -> Result<i64, TransientError> {
        Ok(0)
    }
}

/// An owner directory that knows every owner, so that as much as possible is published.
#[derive(Debug)]
struct EveryOwnerKnown;

impl OwnerDirectory for EveryOwnerKnown {
    async fn find_and_learn(
        &self,
        requested: &[OwnedEntity],
        _: &[(OwnedEntity, UserId)],
    ) -> Result<OwnerAnswers, TransientError> {
        let owner = |entity: &OwnedEntity| Some((entity.clone(), UserId::new("teacher-7").ok()?));
        let found = requested.iter().filter_map(owner).collect();
        Ok(OwnerAnswers { found, ..OwnerAnswers::default() })
    }
}

/// Checks a record's value, on the topic of an event and on an unknown topic.
///
/// # Panics
/// If a property is violated.
pub fn check_record(value: &[u8]) {
    let known = ROUTES[value.len() % ROUTES.len()].topic.default;
    for topic in [known, "unknown"] {
        let collectors = [Collector::default(), Collector::default()];
        let [outcome, again] =
            collectors.each_ref().map(|collector| outcome(collector, topic, value));
        assert_eq!(outcome, again, "the same record had another outcome");
        let [published, again] =
            collectors.map(|collector| collector.0.into_inner().expect("the lock is not poisoned"));
        assert_eq!(published, again, "the same record was published differently");
        check_outcome(&outcome, &published);
    }
}

fn outcome(collector: &Collector, topic: &str, value: &[u8]) -> Outcome {
    let routes = Routes::new(NotificationSource::Both, |topic| topic.default.to_owned());
    let classifier = Classifier::new(routes, IdentityRule::EventId, None);
    let dispatcher = Dispatcher::new(collector, EveryOwnerKnown);
    let record = Record { topic, value: Some(value), wait_expired: true, ..Record::default() };
    let classification = classifier.classify(&record, Timestamp::UNIX_EPOCH);
    let (classifications, held) = ([classification], HeldKeys::default());
    let done = dispatcher.dispatch(&classifications, &held, &[], false).now_or_never();
    let (outcomes, _) =
        done.expect("dispatching does not wait").expect("dispatching does not fail");
    let [outcome] = <[Outcome; 1]>::try_from(outcomes).expect("a record has one outcome");
    outcome
}

fn check_outcome(outcome: &Outcome, published: &[OutgoingNotification]) {
    match outcome {
        Outcome::Published => {
            let [delivery] = published else { panic!("published {} times", published.len()) };
            check_notification(delivery);
        }
        Outcome::Ignored(_) => assert!(published.is_empty(), "ignored and published"),
        Outcome::DeadLetter(rejection) => {
            assert!(published.is_empty(), "dead-lettered and published");
            let detail = &rejection.detail;
            assert!(detail.len() < 200 && !detail.contains(char::is_control), "{detail:?}");
        }
        Outcome::Duplicate | Outcome::Restored | Outcome::Parked(_) => {
            panic!("unexpected outcome {outcome:?}")
        }
    }
}

fn check_notification(OutgoingNotification { user, text, .. }: &OutgoingNotification) {
    let frame: Value = serde_json::from_str(text).expect("a notification is JSON");
    let fields = frame.as_object().expect("a notification is an object");
    assert!(fields.len() == KEYS.len() && KEYS.iter().all(|key| fields.contains_key(*key)));
    assert_eq!(frame["user_id"], user.as_str());
    assert!(REPEATED.iter().all(|key| frame["data"][key] == frame[key] && frame[key].is_string()));
    // The Redis script prepends the id; the gateway parses it.
    let position = "1-0".parse().expect("1-0 is a position");
    let published = format!("{{\"id\":\"1-0\",{}", &text[1..]);
    let read = Frame::published(published.as_str().into());
    assert_eq!(read.position, Some(position));
    assert!(!read.low_priority || frame["priority"] == "low");
    assert_eq!(Frame::stored(position, text).as_ref(), Some(&read));
}
