//! The history of a client, and the position of a client with a filter.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_pages_of_the_history_are_sent_one_after_the_other() {
    let page = |ids: [u64; 2], resume, is_last| ReplayPage {
        resume,
        frames: ids.map(frame).into(),
        replayed_to: frame(ids[1]).position,
        is_last,
        read: None,
    };
    let pages = [
        page([1, 2], Resume::Complete, false),
        page([5, 6], Resume::Incomplete, false),
        page([7, 8], Resume::Complete, true),
    ];
    let mut harness = connect(true, Box::pin(stream::iter(pages))).await;
    for ms in [6, 8, 9] {
        harness.hub.deliver("u", frame(ms));
    }
    let mut seen = Vec::new();
    for _ in 0..9 {
        let frame = harness.json().await;
        let state = frame["data"]["resume"].as_str();
        seen.push(state.or(frame["id"].as_str()).unwrap().to_owned());
    }
    let expected = ["complete", "1-0", "2-0", "incomplete", "5-0", "6-0", "7-0", "8-0", "9-0"];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_resume_without_frames_moves_the_position_over_the_gap() {
    let pages = |frames: &[u64]| {
        let frames: Vec<_> = frames.iter().map(|ms| frame(*ms)).collect();
        let resume = Resume::Incomplete;
        Box::pin(stream::iter([ReplayPage { frames, ..ReplayPage::without_history(resume) }]))
    };
    let mut harness = connect(true, pages(&[])).await;
    harness.hub.deliver("u", frame(7));
    assert_eq!(harness.json().await["data"]["last_event_id"], "7-0");
    assert_eq!(harness.json().await["id"], "7-0");
    let position = harness.json().await;
    assert_eq!(position["data"]["state"], "position");
    assert_eq!(position["data"]["last_event_id"], "7-0");
    // A frame moves the position itself.
    let mut harness = connect(true, pages(&[3])).await;
    harness.json().await;
    assert_eq!(harness.json().await["id"], "3-0");
    harness.hub.deliver("u", frame(8));
    assert_eq!(harness.json().await["id"], "8-0");
}

#[tokio::test(start_paused = true)]
async fn the_position_of_an_incomplete_resume_is_not_behind_the_frames_after_it() {
    let page = ReplayPage::without_history(Resume::Incomplete);
    let (read, is_read) = tokio::sync::oneshot::channel::<()>();
    let pages = stream::once(async move {
        is_read.await.ok();
        page
    });
    let mut harness = connect(true, Box::pin(pages)).await;
    harness.hub.deliver("u", frame(7));
    // Redis has lost the stream.
    harness.hub.read_again("u");
    let subscription =
        harness.hub.plan(harness.hub.take_changed()).subscribe.remove(0).subscription;
    harness.hub.report_gap(&subscription, Resync::At("0-5".parse().unwrap()));
    read.send(()).unwrap();
    assert_eq!(harness.json().await["data"]["state"], "authenticated");
    assert_eq!(harness.json().await["id"], "7-0");
    assert_eq!(harness.json().await["data"]["last_event_id"], "0-5");
    assert_eq!(harness.hub.mark_subscribed(&subscription), Subscribed::Live);
    harness.hub.deliver("u", frame(8));
    assert_eq!(harness.json().await["id"], "8-0");
}

#[tokio::test(start_paused = true)]
async fn a_page_of_the_history_is_read_only_when_the_one_before_is_on_the_socket() {
    let (read, reads) = tokio::sync::watch::channel(0);
    let pages = stream::unfold(read, |read| async move {
        read.send_modify(|reads| *reads += 1);
        let large = format!("{{\"id\":\"1-0\",\"data\":\"{}\"}}", "x".repeat(200_000));
        let frames = vec![Frame::published(large.into())];
        let replayed_to = frames[0].position;
        let page = ReplayPage {
            resume: Resume::Complete,
            frames,
            replayed_to,
            is_last: false,
            read: None,
        };
        Some((page, read))
    });
    let mut harness = connect(false, Box::pin(pages)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(*reads.borrow(), 1, "the client has read nothing");
    harness.json().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*reads.borrow(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_a_filter_is_sent_the_position_of_filtered_frames() {
    let mut harness = connect(true, no_history()).await;
    harness.json().await;
    harness.say(r#"{"type":"filter","categories":["b"]}"#).await;
    harness.say(r#"{"type":"ping"}"#).await;
    harness.json().await;
    let start = time::Instant::now();
    for ms in 1..=3 {
        harness.hub.deliver("u", frame(ms));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let position = harness.json().await;
    assert_eq!(position["data"]["state"], "position");
    assert_eq!(position["data"]["last_event_id"], "3-0");
    assert_eq!(start.elapsed().as_secs(), 5);
    // Only once, and not if a newer frame was sent.
    harness.hub.deliver("u", frame(4));
    harness.say(r#"{"type":"ping"}"#).await;
    assert_eq!(harness.json().await, json!({"type": "pong"}));
    harness.say(r#"{"type":"filter","categories":[]}"#).await;
    harness.say(r#"{"type":"ping"}"#).await;
    assert_eq!(harness.json().await, json!({"type": "pong"}));
    harness.hub.deliver("u", frame(5));
    assert_eq!(harness.json().await["id"], "5-0");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(harness.client.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_without_control_frames_is_sent_notifications_alone() {
    let page = ReplayPage::without_history(Resume::Incomplete);
    let mut harness = connect(false, Box::pin(stream::iter([page]))).await;
    harness.hub.deliver("u", frame(7));
    assert_eq!(harness.json().await["id"], "7-0");
}
