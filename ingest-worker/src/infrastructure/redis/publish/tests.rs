use super::*;
use crate::notification::publisher::EventIdentity;

fn notification(user: &str, bytes: usize) -> OutgoingNotification {
    let user = UserId::new(user).unwrap();
    let text = "x".repeat(bytes);
    let identity = EventIdentity::Content([0; 32]);
    OutgoingNotification { user, identity, text, history_only: None }
}

#[test]
fn a_users_notifications_share_a_call_and_keep_their_order() {
    let notifications = ["a", "b", "a", "c", "b", "a"].map(|user| notification(user, 1));
    let calls = calls_by_user(&notifications, 1..6);
    let calls: Vec<_> = calls.iter().map(|c| (c.user.as_str(), &*c.positions)).collect();
    assert_eq!(calls, [("b", &[1, 4][..]), ("a", &[2, 5]), ("c", &[3])]);
}

#[test]
fn a_round_trip_is_bounded_in_bytes_and_holds_at_least_one_notification() {
    let sizes = [MAX_BYTES / 2, MAX_BYTES / 2, 1, MAX_BYTES + 1, 1];
    let notifications = sizes.map(|bytes| notification("u", bytes));
    let ranges: Vec<_> = round_trips(&notifications).collect();
    assert_eq!(ranges, [0..2, 2..3, 3..4, 4..5]);
    assert_eq!(round_trips(&[]).count(), 0);
}

#[test]
fn after_a_refusal_the_users_later_notifications_are_refused_and_other_users_are_not() {
    let notifications = ["a", "a", "b"].map(|user| notification(user, 1));
    let mut progress = Progress {
        outcomes: vec![PublishOutcome::Published; 3],
        refused: HashMap::new(),
        calls: 0,
        out_of_memory: 0,
    };
    let error = error::transient_code("NOPERM");
    progress.refuse(&notifications[0].user, &[0], error.clone());
    let calls = calls_by_user(&notifications, 1..3);
    let sent: Vec<bool> = calls.iter().map(|call| progress.may_send(call)).collect();
    assert_eq!(sent, [false, true]);
    let refused = PublishOutcome::Refused(error);
    assert_eq!(progress.outcomes, [refused.clone(), refused, PublishOutcome::Published]);
}
