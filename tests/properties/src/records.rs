//! From a record to a notification: nothing panics, everything has an outcome, and what is
//! published is a notification of the contract, whoever wrote the record.

use std::sync::Mutex;

use futures_util::FutureExt as _;
use ingest_worker::{
    domain::{
        classify::Classifier,
        dispatch::Dispatcher,
        idempotency::IdentityRule,
        ordering::HeldKeys,
        recipients::{OwnedEntity, OwnerDirectory},
        record::{Outcome, Record},
        routes::{NotificationSource, ROUTES, Routes},
    },
    notification::publisher::{OutgoingNotification, PublishOutcome, Publisher, TransientError},
};
use serde_json::Value;
use shared::{time::Timestamp, user::UserId};
use ws_gateway::protocol::Frame;

/// The keys of a notification, in their order, but for the `id` that Redis gives it.
const KEYS: [&str; 8] =
    ["event", "category", "priority", "timestamp", "user_id", "event_id", "correlation_id", "data"];
/// Those that `data` repeats.
const REPEATED: [&str; 3] = ["timestamp", "category", "priority"];

/// Takes everything and keeps it.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<OutgoingNotification>>);

impl Publisher for &Kept {
    async fn publish(
        &self,
        deliveries: &[OutgoingNotification],
    ) -> Result<Vec<PublishOutcome>, TransientError> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(deliveries);
        Ok(vec![PublishOutcome::Published; deliveries.len()])
    }
}

/// Says that everything has an owner, so that as much as possible is told.
#[derive(Debug)]
struct Somebody;

impl OwnerDirectory for Somebody {
    async fn learn_and_find(
        &self,
        _: &[(OwnedEntity, UserId)],
        requested: &[OwnedEntity],
    ) -> Result<Vec<Option<UserId>>, TransientError> {
        Ok(requested.iter().map(|_| UserId::new("somebody").ok()).collect())
    }
}

/// Checks a value of a record, on the topic of some event and on one of none.
///
/// # Panics
/// If a promise is broken.
pub fn hold(value: &[u8]) {
    let some = ROUTES[value.len() % ROUTES.len()].topic.default;
    for topic in [some, "elsewhere"] {
        let kept = [Kept::default(), Kept::default()];
        let [outcome, again] = kept.each_ref().map(|kept| outcome(kept, topic, value));
        assert_eq!(outcome, again, "the same record has two outcomes");
        let [kept, again] = kept.map(|kept| kept.0.into_inner().expect("nobody has panicked"));
        assert_eq!(kept, again, "the same record is told in two ways");
        check(&outcome, &kept);
    }
}

fn outcome(kept: &Kept, topic: &str, value: &[u8]) -> Outcome {
    let routes = Routes::new(NotificationSource::Both, |topic| topic.default.to_owned());
    let classifier = Classifier::new(routes, IdentityRule::EventId, None);
    let dispatcher = Dispatcher::new(kept, Somebody);
    let record = Record { topic, value: Some(value), wait_expired: true, ..Record::default() };
    let classification = classifier.classify(&record, Timestamp::UNIX_EPOCH);
    let outcomes = dispatcher.dispatch(&[classification], &HeldKeys::default()).now_or_never();
    let outcomes = outcomes.expect("nothing is waited for").expect("nothing fails");
    let [outcome] = <[Outcome; 1]>::try_from(outcomes).expect("a record has one outcome");
    outcome
}

fn check(outcome: &Outcome, kept: &[OutgoingNotification]) {
    match outcome {
        Outcome::Published => {
            let [delivery] = kept else { panic!("told {} times", kept.len()) };
            check_notification(delivery);
        }
        Outcome::Ignored(_) => assert!(kept.is_empty(), "ignored and told"),
        Outcome::DeadLetter(rejection) => {
            assert!(kept.is_empty(), "given up and told");
            let detail = &rejection.detail;
            assert!(detail.len() < 200 && !detail.contains(char::is_control), "{detail:?}");
        }
        Outcome::Duplicate | Outcome::Parked(_) => {
            panic!("there is no reason for {outcome:?}")
        }
    }
}

fn check_notification(OutgoingNotification { user, text, .. }: &OutgoingNotification) {
    let frame: Value = serde_json::from_str(text).expect("a notification is JSON");
    let fields = frame.as_object().expect("a notification is an object");
    assert!(fields.len() == KEYS.len() && KEYS.iter().all(|key| fields.contains_key(*key)));
    assert_eq!(frame["user_id"], user.as_str());
    assert!(REPEATED.iter().all(|key| frame["data"][key] == frame[key] && frame[key].is_string()));
    // As the script on Redis completes it, and as the gateway reads it.
    let position = "1-0".parse().expect("it is a position");
    let published = format!("{{\"id\":\"1-0\",{}", &text[1..]);
    let read = Frame::published(published.as_str().into());
    assert_eq!(read.position, Some(position));
    assert!(!read.low_priority || frame["priority"] == "low");
    assert_eq!(Frame::stored(position, text).as_ref(), Some(&read));
}
