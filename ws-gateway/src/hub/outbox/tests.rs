use futures_util::FutureExt;

use super::*;

const LIMITS: Limits =
    Limits { capacity: 2, max_bytes: 1 << 10, max_delay: Duration::from_millis(500) };

fn frame(id: u64, low_priority: bool) -> Item {
    let mut frame = Frame::published(format!("{{\"id\":\"{id}-0\",\"event\":\"e\"}}").into());
    frame.low_priority = low_priority;
    Item::Frame(frame)
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_normal_priority_is_due_now_and_flushes_earlier_ones_in_order() {
    let outbox = Outbox::new(LIMITS);
    assert_eq!(outbox.due(None, false).now_or_never(), None);
    assert_eq!(outbox.push(frame(1, true)), Pushed::Queued);
    let by = Instant::now() + LIMITS.max_delay;
    assert_eq!(outbox.due(None, false).await, Due::At(by));
    assert_eq!(outbox.due(Some(by), false).now_or_never(), None);
    assert_eq!(outbox.push(frame(2, false)), Pushed::Queued);
    assert_eq!(outbox.due(Some(by), false).await, Due::Now);
    assert_eq!(outbox.drain().items, [frame(1, true), frame(2, false)]);
    assert_eq!(outbox.due(None, false).now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn a_low_priority_frame_is_due_after_the_maximum_delay() {
    let outbox = Outbox::new(LIMITS);
    outbox.push(frame(1, true));
    tokio::time::advance(Duration::from_millis(300)).await;
    outbox.push(frame(2, true));
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(outbox.due(None, false).await, Due::Now);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_task_is_woken_by_a_frame_and_by_the_close() {
    let outbox = Outbox::new(LIMITS);
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.due(None, false).await }
    });
    tokio::task::yield_now().await;
    outbox.push(frame(1, false));
    assert_eq!(waiting.await.unwrap(), Due::Now);
    outbox.close(CloseReason::LimitReached);
    outbox.close(CloseReason::TooSlow);
    assert_eq!(outbox.closed().await, CloseReason::LimitReached);
}

#[tokio::test]
async fn during_a_replay_a_full_queue_drops_frames_that_the_stream_has() {
    let outbox = Outbox::new(LIMITS);
    outbox.begin_replay();
    let without_position = Item::Frame(Frame::published("{}".into()));
    for item in [without_position.clone(), frame(1, false), frame(2, false)] {
        assert_eq!(outbox.push(item), Pushed::Queued);
    }
    assert!(!outbox.end_replay());
    assert!(outbox.end_replay());
    assert_eq!(outbox.drain().items, [without_position.clone(), frame(2, false)]);
    outbox.begin_replay();
    assert_eq!(outbox.push(without_position.clone()), Pushed::Queued);
    assert_eq!(outbox.push(Item::Gap), Pushed::Queued);
    // Neither of the two is in the stream.
    assert_eq!(outbox.push(frame(3, false)), Pushed::Refused);
    assert_eq!(outbox.closed().await, CloseReason::TooSlow);
}

#[tokio::test]
async fn a_full_queue_closes_the_connection_and_frees_its_memory() {
    let outbox = Outbox::new(LIMITS);
    assert_eq!(outbox.push(frame(1, false)), Pushed::Queued);
    assert_eq!(outbox.push(Item::Gap), Pushed::Queued);
    assert_eq!(outbox.push(frame(3, false)), Pushed::Refused);
    assert_eq!(outbox.due(None, false).await, Due::Closed(CloseReason::TooSlow));
    assert!(outbox.drain().items.is_empty());
    assert_eq!(outbox.push(frame(4, false)), Pushed::Refused);
}

#[tokio::test]
async fn the_bytes_of_a_queue_are_bounded_but_one_large_frame_always_fits() {
    let large = || Item::Frame(Frame::published("x".repeat(2 << 10).into()));
    let outbox = Outbox::new(LIMITS);
    assert_eq!(outbox.push(large()), Pushed::Queued);
    assert_eq!(outbox.push(frame(1, false)), Pushed::Refused);
    assert_eq!(outbox.closed().await, CloseReason::TooSlow);
    let outbox = Outbox::new(LIMITS);
    assert_eq!(outbox.push(large()), Pushed::Queued);
    assert_eq!(outbox.drain().items.len(), 1);
    assert_eq!(outbox.push(frame(1, false)), Pushed::Queued);
    assert_eq!(outbox.push(frame(2, false)), Pushed::Queued);
}

#[test]
fn during_a_replay_frames_that_are_dropped_were_not_sent_and_earlier_ones_were() {
    let notification = |id: u64, event: u64| {
        let rest = r#""category":"c","priority":"high","timestamp":"2026-01-01T00:00:00Z""#;
        Frame::published(format!(r#"{{"id":"{id}-0","event":"e",{rest},"data":{event}}}"#).into())
    };
    let outbox = Outbox::new(LIMITS);
    outbox.begin_replay();
    outbox.remember(&[notification(1, 1)]);
    for number in [2, 3, 4] {
        assert_eq!(outbox.push(Item::Frame(notification(number, number))), Pushed::Queued);
    }
    assert_eq!(outbox.push(Item::Frame(notification(5, 1))), Pushed::Repeated);
    assert_eq!(outbox.push(Item::Frame(notification(6, 2))), Pushed::Queued, "it was dropped");
}

#[tokio::test]
async fn during_a_replay_frames_above_the_byte_limit_are_read_from_the_stream() {
    let stored = |id: u64| {
        let text = format!("{{\"id\":\"{id}-0\",\"data\":\"{}\"}}", "x".repeat(600));
        Item::Frame(Frame::published(text.into()))
    };
    let outbox = Outbox::new(LIMITS);
    outbox.begin_replay();
    assert_eq!(outbox.push(stored(1)), Pushed::Queued);
    assert_eq!(outbox.push(stored(2)), Pushed::Queued);
    assert!(!outbox.end_replay());
    assert_eq!(outbox.drain().items, [stored(2)]);
}
