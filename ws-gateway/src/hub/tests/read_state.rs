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
fn after_a_lost_session_the_read_states_are_requested_of_users_that_have_one() {
    let hub = hub(LimitPolicy::Reject);
    let _connections = [subscribed(&hub, "u", 1), subscribed(&hub, "v", 1)];
    hub.deliver("u", read_state());
    assert_eq!(hub.read_requests().take(9).len(), 0);
    assert_eq!(hub.mark_disconnected(), 2);
    for id in ["u", "v"] {
        assert_eq!(hub.mark_subscribed(&entry(&hub, id)), Subscribed::Live);
    }
    let requested: Vec<UserId> =
        hub.read_requests().take(9).into_iter().map(|taken| taken.user).collect();
    assert_eq!(requested, [user("u")]);
}
