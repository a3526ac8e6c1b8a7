//! Gaps in the frames of a user: which are reported, and what follows them.

use super::*;

#[test]
fn a_gap_that_cannot_be_closed_is_reported_in_order() {
    let hub = hub(LimitPolicy::Reject);
    let connection = subscribed(&hub, "u", 1);
    assert_eq!(hub.mark_disconnected(), 1);
    // A connection that joined after the loss has missed nothing.
    let newcomer = register(&hub, "u");
    hub.report_gap(&entry(&hub, "u"), Resync::Continue);
    hub.replay(&entry(&hub, "u"), &[frame(7)]);
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert_eq!(received(&connection), ["gap", "7-0"]);
    hub.report_gap(&entry(&hub, "u"), Resync::Continue);
    assert_eq!(received(&newcomer), ["7-0", "gap"]);
}

#[test]
fn a_user_whose_stream_lost_its_newest_entries_still_receives_new_ones() {
    let hub = hub(LimitPolicy::Reject);
    let connection = subscribed(&hub, "u", 9);
    assert_eq!(hub.mark_disconnected(), 1);
    hub.deliver("u", frame(6));
    hub.report_gap(&entry(&hub, "u"), Resync::At(at(6)));
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    hub.deliver("u", frame(7));
    assert_eq!(received(&connection), ["gap", "6-0", "7-0"]);
    assert_eq!(connection.position(), at(7));
}

#[test]
fn held_frames_that_the_stream_has_too_are_delivered_once_after_a_report() {
    let hub = hub(LimitPolicy::Reject);
    let connection = subscribed(&hub, "u", 1);
    assert_eq!(hub.mark_disconnected(), 1);
    hub.report_gap(&entry(&hub, "u"), Resync::Unknown);
    // The session is lost again before the user is live.
    assert_eq!(hub.mark_disconnected(), 1);
    hub.deliver("u", frame(2));
    hub.replay(&entry(&hub, "u"), &[frame(2)]);
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert_eq!(received(&connection), ["gap", "2-0"]);
}

#[test]
fn a_live_frame_behind_another_live_frame_is_held_until_the_stream_is_read_again() {
    let hub = hub(LimitPolicy::Reject);
    let connection = subscribed(&hub, "u", 5);
    let _registered = hub.take_changed();
    // One of the two was not published by the worker: first the later, then the earlier one.
    for (other, position, resync, expected) in
        [(50, 6, Some(Resync::At(at(6))), vec!["50-0", "gap", "6-0"]), (7, 4, None, vec!["7-0"])]
    {
        hub.deliver("u", frame(other));
        hub.deliver("u", frame(position));
        let plan = hub.plan(hub.take_changed());
        assert_eq!(plan.subscribe, [pending(&hub, "u", Some(at(other)), true)]);
        if let Some(resync) = resync {
            hub.report_gap(&entry(&hub, "u"), resync);
        }
        assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
        assert_eq!(received(&connection), expected);
    }
    assert_eq!(connection.position(), at(7));
}

#[test]
fn the_size_of_held_frames_is_bounded_and_the_others_are_read_from_the_stream() {
    let hub = hub(LimitPolicy::Reject);
    let connection = subscribed(&hub, "u", 1);
    assert_eq!(hub.mark_disconnected(), 1);
    let large = |ms: u64| {
        let text = format!("{{\"id\":\"{ms}-0\",\"data\":\"{}\"}}", "x".repeat(100 << 10));
        Frame::published(text.into())
    };
    for ms in 2..=7 {
        hub.deliver("u", large(ms));
    }
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::ReadFrom(at(3)));
    assert_eq!(received(&connection), ["2-0", "3-0"]);
    hub.replay(&entry(&hub, "u"), &[large(4), large(5), large(6), large(7)]);
    // One that is larger than the limit is held alone.
    hub.deliver("u", Frame::published("x".repeat(300 << 10).into()));
    assert_eq!(hub.mark_subscribed(&entry(&hub, "u")), Subscribed::Live);
    assert_eq!(received(&connection), ["4-0", "5-0", "6-0", "7-0", "unpositioned"]);
}
