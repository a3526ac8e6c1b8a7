//! Read states on their way to the connections of a user.

use super::*;

fn read_state() -> Frame {
    Frame::published("{\"event\":\"read_state\",\"data\":{}}".into())
}

#[test]
fn a_read_state_reaches_only_connections_that_accept_it() {
    let hub = hub(LimitPolicy::Reject);
    let (accepting, other) = (subscribed(&hub, "u", 1), register(&hub, "u"));
    accepting.outbox().accept_read_state();
    hub.deliver("u", read_state());
    hub.deliver("u", frame(2));
    assert_eq!(received(&accepting), ["unpositioned", "2-0"]);
    assert_eq!(received(&other), ["2-0"]);
}

#[test]
fn after_a_lost_session_the_read_states_of_users_whose_devices_show_them_are_requested() {
    let hub = hub(LimitPolicy::Reject);
    let connections = [subscribed(&hub, "u", 1), subscribed(&hub, "v", 1)];
    connections[0].outbox().accept_read_state();
    assert_eq!(hub.read_requests().take(9).len(), 0);
    assert_eq!(hub.mark_disconnected(), 2);
    for id in ["u", "v"] {
        assert_eq!(hub.mark_subscribed(&entry(&hub, id)), Subscribed::Live);
    }
    let requested: Vec<UserId> =
        hub.read_requests().take(9).into_iter().map(|taken| taken.user).collect();
    assert_eq!(requested, [user("u")]);
}

#[test]
fn the_read_state_of_a_changed_history_is_requested_if_a_device_shows_it() {
    let hub = hub(LimitPolicy::Reject);
    let (shows, _other) = (subscribed(&hub, "u", 1), subscribed(&hub, "v", 1));
    shows.outbox().accept_read_state();
    // Its first frame will have the read state.
    register(&hub, "w").outbox().accept_read_state();
    for id in ["u", "v", "w", "not connected"] {
        hub.history_changed(id);
    }
    let taken = hub.read_requests().take(9);
    let requested: Vec<&UserId> = taken.iter().map(|taken| &taken.user).collect();
    assert_eq!(requested, [&user("u")]);
    assert!(!taken[0].request.is_silent);
}

#[test]
fn the_read_state_is_requested_after_a_frame_that_a_device_was_sent_under_another_id() {
    let hub = hub(LimitPolicy::Reject);
    let shows = subscribed(&hub, "u", 1);
    shows.outbox().accept_read_state();
    let frame = |id: u64, text: &str| Frame::published(format!("{{\"id\":\"{id}-0\"{text}").into());
    let event = r#","event":"e","category":"c","priority":"p","timestamp":"t","n":1}"#;
    hub.deliver("u", frame(2, event));
    assert_eq!(hub.read_requests().take(9).len(), 0);
    hub.deliver("u", frame(3, event));
    assert_eq!((received(&shows), hub.read_requests().take(9).len()), (vec!["2-0".into()], 1));
    hub.deliver("u", frame(4, r#","restored":true,"event":"f","category":"c","priority":"p"}"#));
    assert_eq!(hub.read_requests().take(9).len(), 1);
}
