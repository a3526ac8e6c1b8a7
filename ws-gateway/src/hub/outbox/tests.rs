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
    assert_eq!(outbox.due(None).now_or_never(), None);
    assert!(outbox.push(frame(1, true)));
    let by = Instant::now() + LIMITS.max_delay;
    assert_eq!(outbox.due(None).await, Due::At(by));
    assert_eq!(outbox.due(Some(by)).now_or_never(), None);
    assert!(outbox.push(frame(2, false)));
    assert_eq!(outbox.due(Some(by)).await, Due::Now);
    assert_eq!(outbox.drain().items, [frame(1, true), frame(2, false)]);
    assert_eq!(outbox.due(None).now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn a_low_priority_frame_is_due_after_the_maximum_delay() {
    let outbox = Outbox::new(LIMITS);
    outbox.push(frame(1, true));
    tokio::time::advance(Duration::from_millis(300)).await;
    outbox.push(frame(2, true));
    tokio::time::advance(Duration::from_millis(200)).await;
    assert_eq!(outbox.due(None).await, Due::Now);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_task_is_woken_by_a_frame_and_by_the_close() {
    let outbox = Outbox::new(LIMITS);
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move { outbox.due(None).await }
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
        assert!(outbox.push(item));
    }
    assert!(!outbox.end_replay());
    assert!(outbox.end_replay());
    assert_eq!(outbox.drain().items, [without_position.clone(), frame(2, false)]);
    outbox.begin_replay();
    assert!(outbox.push(without_position.clone()) && outbox.push(Item::Gap));
    // Neither of the two is in the stream.
    assert!(!outbox.push(frame(3, false)));
    assert_eq!(outbox.closed().await, CloseReason::TooSlow);
}

#[tokio::test]
async fn a_full_queue_closes_the_connection_and_frees_its_memory() {
    let outbox = Outbox::new(LIMITS);
    assert!(outbox.push(frame(1, false)) && outbox.push(Item::Gap));
    assert!(!outbox.push(frame(3, false)));
    assert_eq!(outbox.due(None).await, Due::Closed(CloseReason::TooSlow));
    assert!(outbox.drain().items.is_empty());
    assert!(!outbox.push(frame(4, false)));
}

#[tokio::test]
async fn the_bytes_of_a_queue_are_bounded_but_one_large_frame_always_fits() {
    let large = || Item::Frame(Frame::published("x".repeat(2 << 10).into()));
    let outbox = Outbox::new(LIMITS);
    assert!(outbox.push(large()));
    assert!(!outbox.push(frame(1, false)));
    assert_eq!(outbox.closed().await, CloseReason::TooSlow);
    let outbox = Outbox::new(LIMITS);
    assert!(outbox.push(large()));
    assert_eq!(outbox.drain().items.len(), 1);
    assert!(outbox.push(frame(1, false)) && outbox.push(frame(2, false)));
}

#[tokio::test]
async fn during_a_replay_frames_above_the_byte_limit_are_read_from_the_stream() {
    let stored = |id: u64| {
        let text = format!("{{\"id\":\"{id}-0\",\"data\":\"{}\"}}", "x".repeat(600));
        Item::Frame(Frame::published(text.into()))
    };
    let outbox = Outbox::new(LIMITS);
    outbox.begin_replay();
    assert!(outbox.push(stored(1)) && outbox.push(stored(2)));
    assert!(!outbox.end_replay());
    assert_eq!(outbox.drain().items, [stored(2)]);
}
