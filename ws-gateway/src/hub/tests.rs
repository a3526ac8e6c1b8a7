mod gaps;
mod read_state;

use std::time::Duration;

use futures_util::FutureExt;
use prometheus::Registry;

use super::{outbox::Item, registration::Registration};
use super::{subscription::SubscriptionPlan, *};
use crate::protocol::CloseReason;

impl Hub {
    /// Returns a text that is the same for equal states only.
    pub(crate) fn fingerprint(&self) -> String {
        let mut state = self.state();
        // The time of day does not distinguish states.
        for user in state.users.values_mut() {
            user.connections.iter_mut().for_each(|connection| connection.since = 0);
        }
        format!("{state:?}")
    }
}

fn hub(policy: LimitPolicy) -> Hub {
    let mut limits = Limits { policy, ..Limits::SMALL };
    limits.outbox.max_delay = Duration::from_millis(500);
    Hub::new(limits, Metrics::new(&Registry::new()))
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn at(ms: u64) -> Position {
    format!("{ms}-0").parse().unwrap()
}

fn frame(ms: u64) -> Frame {
    Frame::published(format!("{{\"id\":\"{ms}-0\",\"event\":\"e\"}}").into())
}

fn unpositioned() -> Frame {
    Frame::published("{\"event\":\"unpositioned\"}".into())
}

fn register(hub: &Hub, id: &str) -> Registration {
    hub.register(&user(id), Uuid::new_v4()).unwrap()
}

/// The present entry of a user.
fn entry(hub: &Hub, id: &str) -> Subscription {
    let generation = hub.state().users.get(id).map_or(0, |entry| entry.generation);
    Subscription { user: user(id), generation }
}

/// A connection of a user who has everything up to `position`.
fn subscribed(hub: &Hub, id: &str, position: u64) -> Registration {
    let registration = register(hub, id);
    hub.set_start_position(&entry(hub, id), at(position));
    assert_eq!(hub.mark_subscribed(&entry(hub, id)), Subscribed::Live);
    registration
}

fn pending(hub: &Hub, id: &str, position: Option<Position>, was_live: bool) -> PendingSubscription {
    PendingSubscription { subscription: entry(hub, id), position, was_live }
}

fn received(registration: &Registration) -> Vec<String> {
    let items = registration.outbox().drain().items.into_iter();
    let text = |item| match item {
        Item::Frame(Frame { position: Some(position), .. }) => position.to_string(),
        Item::Frame(_) => "unpositioned".into(),
        Item::Gap => "gap".into(),
    };
    items.map(text).collect()
}

#[test]
fn a_frame_reaches_every_connection_of_its_user_and_no_other_user() {
    let hub = hub(LimitPolicy::Reject);
    let (first, second) = (subscribed(&hub, "u", 0), register(&hub, "u"));
    let other = subscribed(&hub, "v", 0);
    hub.deliver("u", frame(1));
    hub.deliver("u", unpositioned());
    hub.deliver("not connected", frame(2));
    assert_eq!(received(&first), ["1-0", "unpositioned"]);
    assert_eq!(received(&second), ["1-0", "unpositioned"]);
    assert_eq!(received(&other), [""; 0]);
}

#[test]
fn all_connections_share_one_copy_of_the_text() {
    let hub = hub(LimitPolicy::Reject);
    let connections = [subscribed(&hub, "u", 0), register(&hub, "u")];
    hub.deliver("u", frame(1));
    let [a, b] =
        connections.map(|connection| match connection.outbox().drain().items.pop_front() {
            Some(Item::Frame(frame)) => frame.text,
            other => panic!("{other:?}"),
        });
    assert_eq!(a.as_str().as_ptr(), b.as_str().as_ptr());
}

#[test]
fn a_frame_that_was_delivered_before_is_dropped() {
    let hub = hub(LimitPolicy::Reject);
    let connection = subscribed(&hub, "u", 5);
    for ms in [4, 5, 6, 6, 7] {
        hub.deliver("u", frame(ms));
    }
    assert_eq!(received(&connection), ["6-0", "7-0"]);
    assert_eq!(connection.position(), at(7));
}

#[test]
fn above_the_limit_the_newest_connection_is_refused_or_the_oldest_closed() {
    let reject = hub(LimitPolicy::Reject);
    let _both = [register(&reject, "u"), register(&reject, "u")];
    assert_eq!(reject.register(&user("u"), Uuid::new_v4()).unwrap_err().0.get(), 2);
    assert!(reject.register(&user("v"), Uuid::new_v4()).is_ok());

    let evict = hub(LimitPolicy::EvictOldest);
    let (oldest, newer) = (register(&evict, "u"), register(&evict, "u"));
    let newest = register(&evict, "u");
    assert_eq!(oldest.outbox().closed().now_or_never(), Some(CloseReason::LimitReached));
    assert_eq!(newer.outbox().closed().now_or_never(), None);
    drop(oldest);
    assert_eq!(newest.outbox().closed().now_or_never(), None);
}

#[test]
fn a_slow_connection_is_closed_and_the_others_receive_frames() {
    let hub = hub(LimitPolicy::Reject);
    let (slow, fast) = (subscribed(&hub, "u", 0), register(&hub, "u"));
    for ms in 1..=9 {
        hub.deliver("u", frame(ms));
        assert_eq!(received(&fast), [format!("{ms}-0")]);
    }
    assert_eq!(slow.outbox().closed().now_or_never(), Some(CloseReason::TooSlow));
}

#[tokio::test]
async fn a_connection_waits_until_the_subscription_is_confirmed() {
    let hub = hub(LimitPolicy::Reject);
    let mut connection = register(&hub, "u");
    let mut confirmed = Box::pin(connection.confirmed());
    assert_eq!(confirmed.as_mut().now_or_never(), None);
    hub.set_start_position(&entry(&hub, "u"), at(3));
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert_eq!(confirmed.as_mut().now_or_never(), Some(()));
    assert_eq!(connection.position(), at(3));
    assert_eq!(register(&hub, "u").confirmed().now_or_never(), Some(()));
}

#[test]
fn the_first_connection_subscribes_and_the_last_unsubscribes() {
    let hub = hub(LimitPolicy::Reject);
    let first = register(&hub, "u");
    let joining = pending(&hub, "u", None, false);
    let plan = hub.plan(hub.take_changed());
    assert_eq!(plan, SubscriptionPlan { subscribe: vec![joining], unsubscribe: vec![] });
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    let second = register(&hub, "u");
    assert_eq!(hub.plan(hub.take_changed()), SubscriptionPlan::default());
    drop(first);
    assert_eq!(hub.plan(hub.take_changed()), SubscriptionPlan::default());
    drop(second);
    assert_eq!(
        hub.plan(hub.take_changed()),
        SubscriptionPlan { subscribe: vec![], unsubscribe: vec![user("u")] }
    );
    assert_eq!(hub.changed().now_or_never(), None);
}

#[test]
fn a_user_who_reconnects_before_the_next_plan_is_subscribed() {
    let hub = hub(LimitPolicy::Reject);
    drop(subscribed(&hub, "u", 5));
    let _back = register(&hub, "u");
    let plan = hub.plan(hub.take_changed());
    assert_eq!(plan.subscribe, [pending(&hub, "u", None, false)]);
    // The same holds for a user who comes back after the plan to unsubscribe was made.
    drop(subscribed(&hub, "v", 5));
    assert_eq!(hub.plan(hub.take_changed()).unsubscribe, [user("v")]);
    let _back = register(&hub, "v");
    assert_eq!(hub.plan(hub.take_changed()).subscribe.len(), 1);
}

#[test]
fn after_a_loss_live_frames_do_not_overtake_the_missing_ones() {
    let hub = hub(LimitPolicy::Reject);
    let connection = subscribed(&hub, "u", 1);
    assert_eq!(hub.mark_disconnected(), 1);
    let plan = hub.plan(hub.take_changed());
    assert_eq!(plan.subscribe, [pending(&hub, "u", Some(at(1)), true)]);
    hub.deliver("u", frame(4));
    hub.deliver("u", unpositioned());
    hub.deliver("u", frame(5));
    hub.replay(&entry(&hub, "u"), &[frame(2), frame(3), frame(4)]);
    assert_eq!(received(&connection), ["2-0", "3-0", "4-0"]);
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert_eq!(received(&connection), ["unpositioned", "5-0"]);
    hub.deliver("u", frame(6));
    assert_eq!(received(&connection), ["6-0"]);
}

#[tokio::test]
async fn a_connection_that_joins_during_an_outage_waits_for_its_end() {
    let hub = hub(LimitPolicy::Reject);
    let _old = subscribed(&hub, "u", 1);
    assert_eq!(hub.mark_disconnected(), 1);
    let mut new = register(&hub, "u");
    let mut confirmed = Box::pin(new.confirmed());
    assert_eq!(confirmed.as_mut().now_or_never(), None);
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert_eq!(confirmed.now_or_never(), Some(()));
}

#[test]
fn a_position_that_is_read_late_does_not_replace_the_one_of_a_delivered_frame() {
    let hub = hub(LimitPolicy::Reject);
    let _connection = subscribed(&hub, "u", 5);
    hub.set_start_position(&entry(&hub, "u"), at(3));
    assert_eq!(hub.position(&user("u")), Some(at(5)));
}

#[test]
fn frames_above_the_held_limit_are_read_from_the_stream() {
    let mut limits = Limits::SMALL;
    limits.outbox.capacity = 10_000;
    let hub = Hub::new(limits, Metrics::new(&Registry::new()));
    let connection = subscribed(&hub, "u", 1);
    assert_eq!(hub.mark_disconnected(), 1);
    let published: Vec<Frame> = (2..1000).map(frame).collect();
    for frame in published.clone() {
        hub.deliver("u", frame);
    }
    let Subscribed::ReadFrom(position) = hub.mark_subscribed(&entry(&hub, "u")) else {
        panic!("all frames were held")
    };
    hub.deliver("u", frame(1000));
    let rest: Vec<Frame> =
        published.into_iter().filter(|frame| frame.position > Some(position)).collect();
    hub.replay(&entry(&hub, "u"), &rest);
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    let expected: Vec<String> = (2..=1000).map(|ms| format!("{ms}-0")).collect();
    assert_eq!(received(&connection), expected);
}

#[tokio::test]
async fn a_reply_for_an_earlier_entry_has_no_effect_on_a_later_one() {
    let hub = hub(LimitPolicy::Reject);
    let first = register(&hub, "u");
    let earlier = entry(&hub, "u");
    drop(first);
    let mut connection = register(&hub, "u");
    let mut confirmed = Box::pin(connection.confirmed());
    hub.set_start_position(&earlier, at(3));
    hub.replay(&earlier, &[frame(4)]);
    hub.report_gap(&earlier, Resync::At(at(5)));
    assert_eq!(hub.mark_subscribed(&earlier), Subscribed::Live);
    assert_eq!(confirmed.as_mut().now_or_never(), None, "confirmed for another entry");
    assert_eq!(received(&connection), [""; 0]);
    let plan = hub.plan(hub.take_changed());
    assert_eq!(plan.subscribe, [pending(&hub, "u", None, false)]);
    assert_ne!(plan.subscribe[0].subscription, earlier);
}

#[test]
fn a_user_without_a_position_still_receives_frames_and_is_known_to_have_been_live() {
    let hub = hub(LimitPolicy::Reject);
    let connection = register(&hub, "u");
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert!(hub.lacks_position(&entry(&hub, "u")));
    hub.deliver("u", unpositioned());
    assert_eq!(received(&connection), ["unpositioned"]);
    assert_eq!(hub.mark_disconnected(), 1);
    let plan = hub.plan(hub.take_changed());
    assert_eq!(plan.subscribe, [pending(&hub, "u", None, true)]);
    hub.report_gap(&entry(&hub, "u"), Resync::Unknown);
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert_eq!(received(&connection), ["gap"]);
}
