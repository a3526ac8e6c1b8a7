//! What a client may send, how slowly it may read, and how much memory it takes.

use super::*;
use crate::auth::TOKEN_SUBPROTOCOL_PREFIX;

fn text(length: usize) -> Message {
    Message::Text("x".repeat(length).into())
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pongs_but_does_not_read_is_too_slow_and_not_silent() {
    let mut harness = connect(false, no_history()).await;
    let text = format!("{{\"id\":\"1-0\",\"data\":\"{}\"}}", "x".repeat(100_000));
    harness.hub.deliver("u", Frame::published(text.into()));
    while !harness.task.is_finished() {
        // Fails once the gateway has closed the connection.
        harness.client.send(Message::Pong(Vec::new().into())).await.ok();
        time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(harness.task.await.unwrap(), Disconnect::ByGateway(CloseReason::TooSlow));
}

/// A connection whose write waits for a client that does not read.
async fn blocked(settings: Arc<ConnectionSettings>) -> Harness {
    let harness = connect_with(settings, false, no_history()).await;
    let text = format!("{{\"id\":\"1-0\",\"data\":\"{}\"}}", "x".repeat(100_000));
    harness.hub.deliver("u", Frame::published(text.into()));
    time::sleep(Duration::from_secs(1)).await;
    harness
}

/// Settings with which a write may wait for longer than a token lives.
fn patient_settings() -> Arc<ConnectionSettings> {
    let keepalive_timeout = 2 * TOKEN_LIFE;
    Arc::new(ConnectionSettings { keepalive_timeout, ..Arc::into_inner(settings()).unwrap() })
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_token_is_noticed_while_a_write_waits() {
    let harness = blocked(patient_settings()).await;
    assert_eq!(harness.task.await.unwrap(), Disconnect::ByGateway(CloseReason::TokenExpired));
}

#[tokio::test(start_paused = true)]
async fn the_shutdown_is_noticed_while_a_write_waits() {
    let (harness, start) = (blocked(patient_settings()).await, time::Instant::now());
    harness.shutdown.cancel();
    assert_eq!(harness.task.await.unwrap(), Disconnect::ByGateway(CloseReason::Restarting));
    assert!(start.elapsed() <= settings().drain_window + 2 * close::TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_may_be_larger_than_other_messages() {
    let mut harness = connect(true, no_history()).await;
    assert_eq!(harness.json().await["data"]["state"], "authenticated");
    let token = format!("{TOKEN_SUBPROTOCOL_PREFIX}{}", "x".repeat(10_000));
    harness.say(json!({"type": "auth", "token": token}).to_string()).await;
    assert_eq!(harness.json().await["data"]["state"], "error", "it was read");
    harness.say(text(4096)).await;
    harness.say(r#"{"type":"ping"}"#).await;
    assert_eq!(harness.json().await["type"], "pong");
    harness.say(text(4097)).await;
    assert_eq!(harness.closed().await.0, 1009);
}

/// One start of a message and then empty continuation frames, masked with zeros.
fn empty_fragments(count: usize) -> Vec<u8> {
    let start = [0x01, 0x80, 0, 0, 0, 0];
    [start.to_vec(), [0x00, 0x80, 0, 0, 0, 0].repeat(count)].concat()
}

#[tokio::test(start_paused = true)]
async fn empty_continuation_frames_are_limited_like_messages() {
    let mut harness = connect(false, no_history()).await;
    let flood = empty_fragments(2_000);
    let stream = harness.client.get_mut();
    let begun = time::Instant::now();
    tokio::io::AsyncWriteExt::write_all(stream, &flood).await.unwrap();
    // The rest fits into the buffer between both ends.
    let seconds = begun.elapsed().as_secs();
    assert!((20..=30).contains(&seconds), "the flood was read in {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_message_flood_is_not_read_and_does_not_stop_delivery() {
    let mut harness = connect(false, no_history()).await;
    for _ in 0..=MESSAGES_PER_SECOND {
        harness.say(Message::Ping(Vec::new().into())).await;
    }
    let start = time::Instant::now();
    harness.say(r#"{"type":"ping"}"#).await;
    harness.hub.deliver("u", frame(1));
    assert_eq!(harness.json().await["id"], "1-0");
    assert_eq!(harness.json().await, json!({"type": "pong"}));
    assert!(start.elapsed() >= Duration::from_millis(900));
}

/// A connection in the middle of a history that is longer than the client reads.
async fn resuming() -> Harness {
    let page = || {
        let large = format!("{{\"id\":\"1-0\",\"data\":\"{}\"}}", "x".repeat(200_000));
        let (frames, replayed_to) = (vec![Frame::published(large.into())], frame(1).position);
        ReplayPage { resume: Resume::Complete, frames, replayed_to, is_last: false, read: None }
    };
    let harness = connect(false, Box::pin(stream::repeat_with(page))).await;
    time::sleep(Duration::from_secs(1)).await;
    harness
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_connection_whose_resume_makes_no_progress_is_replaced() {
    let harness = resuming().await;
    let user = user();
    let _other = harness.hub.register(&user, Uuid::new_v4()).unwrap();
    let start = time::Instant::now();
    harness.hub.register_or_probe(&user, Uuid::new_v4()).await.expect("a place is free");
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(harness.task.await.unwrap(), Disconnect::ByGateway(CloseReason::KeepaliveTimeout));
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_connection_that_reads_its_resume_slowly_is_not_replaced() {
    let mut harness = resuming().await;
    let user = user();
    let _other = harness.hub.register(&user, Uuid::new_v4()).unwrap();
    let reading = async {
        let mut part = [0; 1_000];
        loop {
            let stream = harness.client.get_mut();
            tokio::io::AsyncReadExt::read_exact(stream, &mut part).await.unwrap();
            time::sleep(Duration::from_millis(100)).await;
        }
    };
    let refused = tokio::select! {
        () = reading => unreachable!(),
        registered = harness.hub.register_or_probe(&user, Uuid::new_v4()) => registered,
    };
    assert!(refused.is_err());
    assert!(!harness.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_a_connection_that_waits_for_its_history_is_pinged() {
    for answers in [true, false] {
        let mut harness = connect(false, Box::pin(stream::pending())).await;
        let user = user();
        let _other = harness.hub.register(&user, Uuid::new_v4()).unwrap();
        let client = async { while answers && harness.client.next().await.is_some() {} };
        let registered = harness.hub.register_or_probe(&user, Uuid::new_v4());
        let (registered, ()) = tokio::join!(registered, async {
            time::timeout(Duration::from_secs(3), client).await.ok();
        });
        assert_eq!(registered.is_err(), answers);
    }
}
