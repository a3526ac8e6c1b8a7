//! Slots of Redis Cluster that move, or that no master owns.

use super::*;

#[tokio::test(start_paused = true)]
async fn users_are_served_only_once_the_revocations_were_loaded() {
    let mut context = context();
    context.redis.state().revocations = KnownRevocations::None;
    let mut u = context.connect("u");
    let started = time::timeout(Duration::from_mins(1), context.session.start()).await;
    assert!(started.is_err() && !is_confirmed(&mut u));
    assert!(context.redis.state().subscribed.is_empty());
    let loads = context.redis.state().loads;
    assert!((10..40).contains(&loads), "{loads} attempts in a minute");
    context.redis.state().revocations = KnownRevocations::Current;
    context.session.start().await.unwrap();
    assert!(is_confirmed(&mut u));
    context.redis.state().revocations = KnownRevocations::None;
    context.lost.notify_one();
    assert!(context.session.start().await.is_err(), "a lost connection ends the session");
}

#[tokio::test(start_paused = true)]
async fn revocations_that_cannot_be_loaded_again_end_no_session_and_are_soon_retried() {
    let mut context = context();
    context.redis.state().revocations = KnownRevocations::Earlier;
    let mut u = context.connect("u");
    context.session.start().await.unwrap();
    assert!(is_confirmed(&mut u));
    assert!(time::timeout(Duration::from_mins(1), context.session.run()).await.is_err());
    let loads = context.redis.state().loads;
    assert!((10..40).contains(&loads), "{loads} attempts in a minute");
    context.redis.state().revocations = KnownRevocations::Current;
    assert!(time::timeout(Duration::from_mins(1), context.session.run()).await.is_err());
    let loads = context.redis.state().loads - loads;
    assert!((2..=3).contains(&loads), "{loads} loads in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_has_moved_wakes_retries_and_loads_the_revocations() {
    let mut context = context();
    context.redis.fail("u", Some(RedisUserError::SlotMoving));
    let u = context.connect("u");
    context.session.start().await.unwrap();
    assert!(time::timeout(Duration::from_mins(10), context.session.run()).await.is_err());
    context.redis.fail("u", None);
    context.redis.state().users.get_mut("u").unwrap().stream.push(7);
    let loads = context.redis.state().loads;
    context.redis.state().has_moved = true;
    assert!(time::timeout(Duration::from_secs(2), context.session.run()).await.is_err());
    assert_eq!((u.position(), context.redis.state().loads), (at(7), loads + 1));
}

/// The new master publishes a frame, and returns its position, before the other nodes have it.
#[tokio::test(start_paused = true)]
async fn a_frame_that_a_new_master_of_a_slot_forwards_is_delivered_after_its_position_is_read() {
    let mut context = context();
    context.redis.fail("u", Some(RedisUserError::SlotMoving));
    let u = context.connect("u");
    context.session.start().await.unwrap();
    context.redis.fail("u", None);
    context.redis.state().moved = vec![user("u")];
    context.redis.state().users.get_mut("u").unwrap().stream.push(7);
    context.session.retries.due().await;
    context.session.retry().await.unwrap();
    context.hub.deliver("u", frame(7));
    assert!(time::timeout(Duration::from_secs(5), context.session.run()).await.is_err());
    assert_eq!((received(&u), u.position()), (vec!["7".into()], at(7)));
}
