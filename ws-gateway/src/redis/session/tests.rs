use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use futures_util::FutureExt;
use prometheus::Registry;
use uuid::Uuid;

use super::*;
use crate::{
    hub::{Limits, outbox::Item, registration::Registration},
    metrics::RedisUserError,
    protocol::{Frame, Position},
    redis::{
        history::{Page, PageRequest, StreamSize},
        revocations::KnownRevocations,
    },
};

mod fake_redis;
mod foreign_frames;
mod long_repair;
mod lost_data;
mod moving_slots;
mod orders;
mod refused_channel;
mod stepped;

use fake_redis::FakeRedis;

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// Real positions begin at 1; 0 stands for the position of a user without history.
fn at(ms: u64) -> Position {
    format!("{ms}-1").parse().unwrap()
}

fn frame(ms: u64) -> Frame {
    frame_of(ms, 0)
}

/// A frame with at least this number of bytes.
fn frame_of(ms: u64, bytes: usize) -> Frame {
    let padding = "x".repeat(bytes);
    Frame::published(format!("{{\"id\":\"{ms}-1\",\"event\":\"e\",\"data\":\"{padding}\"}}").into())
}

struct TestContext {
    hub: Hub,
    metrics: Metrics,
    redis: FakeRedis,
    session: Session<FakeRedis>,
    lost: Arc<Notify>,
}

fn context() -> TestContext {
    let metrics = Metrics::new(&Registry::new());
    let (hub, redis) = FakeRedis::new(metrics.clone());
    let lost = Arc::new(Notify::new());
    let session = Session::new(redis.clone(), hub.clone(), metrics.clone(), Arc::clone(&lost));
    TestContext { hub, metrics, redis, session, lost }
}

impl TestContext {
    fn connect(&self, id: &str) -> Registration {
        self.hub.register(&user(id), Uuid::new_v4()).unwrap()
    }

    /// The session ends and the next one begins; `missed` happens in between.
    fn reconnect(&mut self, missed: impl FnOnce(&FakeRedis)) {
        self.redis.state().subscribed.clear();
        let _users = self.hub.mark_disconnected();
        missed(&self.redis);
        let (redis, lost) = (self.redis.clone(), Arc::clone(&self.lost));
        self.session = Session::new(redis, self.hub.clone(), self.metrics.clone(), lost);
    }
}

fn is_confirmed(registration: &mut Registration) -> bool {
    registration.confirmed().now_or_never().is_some()
}

fn received(registration: &Registration) -> Vec<String> {
    let text = |item| match item {
        Item::Frame(frame) => frame.position.map_or("unpositioned".into(), |p| p.ms().to_string()),
        Item::Gap => "gap".into(),
    };
    registration.outbox().drain().items.into_iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_user_whose_position_cannot_be_read_is_served_and_harms_no_other_user() {
    let mut context = context();
    context.redis.fail("u", Some(RedisUserError::OutOfMemory));
    let (mut u, mut v) = (context.connect("u"), context.connect("v"));
    context.session.start().await.unwrap();
    assert!(is_confirmed(&mut u) && is_confirmed(&mut v));
    context.redis.publish("v", 1);
    context.redis.publish("u", 2);
    assert_eq!((received(&u), received(&v)), (vec!["2".into()], vec!["1".into()]));
    assert_eq!(context.metrics.redis_user_errors.of(RedisUserError::OutOfMemory).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_position_is_read_again_with_growing_delays() {
    let mut context = context();
    context.redis.fail("u", Some(RedisUserError::ReadOnly));
    let u = context.connect("u");
    context.session.start().await.unwrap();
    let errors = context.metrics.redis_user_errors.of(RedisUserError::ReadOnly).clone();
    assert!(time::timeout(Duration::from_mins(10), context.session.run()).await.is_err());
    assert!((8..30).contains(&errors.get()), "{} attempts in 10 minutes", errors.get());
    context.redis.fail("u", None);
    context.redis.state().users.get_mut("u").unwrap().stream.push(7);
    assert!(time::timeout(Duration::from_mins(1), context.session.run()).await.is_err());
    assert_eq!(u.position(), at(7));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_in_flight_while_the_position_is_read_again_is_delivered() {
    let mut context = context();
    context.redis.fail("u", Some(RedisUserError::ReadOnly));
    let u = context.connect("u");
    context.session.start().await.unwrap();
    context.redis.fail("u", None);
    context.redis.state().users.get_mut("u").unwrap().stream.push(7);
    let (hub, redis) = (context.hub.clone(), context.redis.clone());
    context.redis.state().during_positions = Some(Box::new(move || {
        redis.state().during_check = Some(Box::new(move || hub.deliver("u", frame(7))));
    }));
    assert!(time::timeout(Duration::from_secs(5), context.session.run()).await.is_err());
    assert_eq!(received(&u), ["7"]);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_reconnects_while_the_position_is_read_is_confirmed_with_a_position() {
    let mut context = context();
    context.redis.publish("u", 5);
    let first = context.connect("u");
    let (hub, second) = (context.hub.clone(), Arc::new(Mutex::new(None)));
    let slot = Arc::clone(&second);
    context.redis.state().during_positions = Some(Box::new(move || {
        drop(first);
        *slot.lock().unwrap() = Some(hub.register(&user("u"), Uuid::new_v4()).unwrap());
    }));
    context.session.start().await.unwrap();
    let mut second = second.lock().unwrap().take().unwrap();
    assert!(is_confirmed(&mut second));
    assert_eq!(second.position(), at(5));
    // And after a loss, it misses nothing.
    context.reconnect(|redis| redis.publish("u", 6));
    context.session.start().await.unwrap();
    assert_eq!(received(&second), ["6"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_missed_frames_come_first_and_each_once() {
    let mut context = context();
    let u = context.connect("u");
    context.session.start().await.unwrap();
    context.redis.publish("u", 1);
    let hub = context.hub.clone();
    context.reconnect(move |redis| {
        redis.publish("u", 2);
        redis.publish("u", 3);
        // Pushed before the stream is read.
        hub.deliver("u", frame(3));
    });
    context.session.start().await.unwrap();
    context.redis.publish("u", 4);
    assert_eq!(received(&u), ["1", "2", "3", "4"]);
    assert_eq!(context.metrics.gaps.of(GapRepair::Complete).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn large_gaps_of_many_users_are_read_within_a_byte_limit() {
    let mut context = context();
    let users: Vec<String> = (0..60).map(|number| format!("user-{number}")).collect();
    let connections: Vec<Registration> = users.iter().map(|id| context.connect(id)).collect();
    for id in &users {
        context.redis.publish(id, 1);
    }
    context.session.start().await.unwrap();
    context.redis.state().frame_bytes = 40_000;
    context.reconnect(|redis| {
        for id in &users {
            (2..=20).for_each(|ms| redis.publish(id, ms));
        }
    });
    context.session.start().await.unwrap();
    let expected: Vec<String> = (2..=20).map(|ms| ms.to_string()).collect();
    for connection in connections {
        assert_eq!(received(&connection), expected);
    }
    let largest = context.redis.state().largest_reply;
    assert!(largest <= gap::ROUND_BYTES, "{largest} bytes in one reply");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_read_is_a_gap_of_its_user_only() {
    let mut context = context();
    let (u, v) = (context.connect("u"), context.connect("v"));
    context.session.start().await.unwrap();
    for id in ["u", "v"] {
        context.redis.publish(id, 1);
    }
    context.reconnect(|redis| {
        redis.fail("u", Some(RedisUserError::WrongType));
        for id in ["u", "v"] {
            redis.publish(id, 2);
        }
    });
    context.session.start().await.unwrap();
    for id in ["u", "v"] {
        context.redis.publish(id, 3);
    }
    assert_eq!(received(&u), ["1", "gap", "3"]);
    assert_eq!(received(&v), ["1", "2", "3"]);
    assert_eq!(context.metrics.gaps.of(GapRepair::Incomplete).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_loss_a_user_without_a_position_is_notified_that_frames_may_be_missing() {
    let mut context = context();
    context.redis.fail("u", Some(RedisUserError::OutOfMemory));
    let u = context.connect("u");
    context.session.start().await.unwrap();
    context.reconnect(|redis| {
        redis.fail("u", None);
        redis.publish("u", 2);
    });
    context.session.start().await.unwrap();
    assert_eq!(received(&u), ["gap"]);
    assert_eq!(u.position(), at(2));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_connection_and_a_check_without_reply_end_the_session() {
    let mut context = context();
    let _u = context.connect("u");
    context.redis.state().is_unavailable = true;
    assert!(context.session.start().await.is_err());
    context.redis.state().is_silent = true;
    let ended = time::timeout(Duration::from_secs(5), context.session.run()).await;
    assert!(ended.is_ok(), "the session continues without a reply");
    context.redis.state().is_silent = false;
    context.lost.notify_one();
    assert!(context.session.run().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn only_users_whose_slot_has_moved_are_subscribed_again_and_their_gap_is_closed() {
    let mut context = context();
    let [u, v] = ["u", "v"].map(|id| context.connect(id));
    context.session.start().await.unwrap();
    context.redis.publish("u", 1);
    context.redis.state().moved = vec![user("u")];
    context.redis.state().subscribed.remove("u");
    for id in ["u", "v"] {
        context.redis.publish(id, 2);
    }
    assert!(time::timeout(Duration::from_secs(1), context.session.run()).await.is_err());
    for id in ["u", "v"] {
        context.redis.publish(id, 3);
    }
    assert_eq!(received(&u), ["1", "2", "3"]);
    assert_eq!(received(&v), ["2", "3"]);
    assert_eq!(context.redis.state().subscribed.len(), 2);
    assert_eq!(context.metrics.gaps.of(GapRepair::Complete).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn users_who_leave_are_unsubscribed() {
    let mut context = context();
    let (u, _v) = (context.connect("u"), context.connect("v"));
    context.session.start().await.unwrap();
    assert_eq!(context.redis.state().subscribed.len(), 2);
    drop(u);
    assert!(time::timeout(Duration::from_secs(1), context.session.run()).await.is_err());
    assert_eq!(context.redis.state().subscribed, BTreeSet::from([user("v")]));
    assert_eq!(context.metrics.subscriptions.get(), 1);
}
