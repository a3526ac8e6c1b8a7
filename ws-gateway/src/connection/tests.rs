use std::{num::NonZeroU32, time::Duration};

use futures_util::{FutureExt, SinkExt, StreamExt, stream};
use prometheus::Registry;
use serde_json::{Value, json};
use shared::user::UserId;
use tokio::{io::DuplexStream, task::JoinHandle, time};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::auth::{Authenticator, Credential, Key, TokenRules, revocation::Revocations};
use crate::hub::{self, Hub, Replay, ReplayPage, Resync, Subscribed, Subscription};
use crate::metrics::Metrics;
use crate::protocol::{CloseReason, Disconnect, Frame, Resume};

mod history;
mod limits;
mod renewal;

const TOKEN_LIFE: Duration = Duration::from_secs(1000);
const MESSAGES_PER_SECOND: u32 = 50;

impl Transport for DuplexStream {}

/// A client, the hub, and the task of its connection.
struct Harness {
    client: WebSocketStream<DuplexStream>,
    hub: Hub,
    shutdown: CancellationToken,
    task: JoinHandle<Disconnect>,
}

fn user() -> UserId {
    UserId::new("u").unwrap()
}

pub(super) fn settings() -> Arc<ConnectionSettings> {
    let secret = "a-secret-that-is-long-enough-for-tests".into();
    let algorithms = [jsonwebtoken::Algorithm::HS256];
    let rules = TokenRules::new(&algorithms, None, None, Duration::ZERO);
    Arc::new(ConnectionSettings {
        ping_interval: Duration::from_secs(30),
        epoch: tokio::time::Instant::now(),
        keepalive_timeout: Duration::from_mins(1),
        expiry_grace: Duration::from_secs(5),
        max_message_size: 4096,
        max_messages_per_second: NonZeroU32::new(MESSAGES_PER_SECOND).unwrap(),
        drain_window: Duration::from_secs(10),
        authenticator: Authenticator::new(
            vec![Key::from_secret(&secret, &rules).unwrap()].into(),
            Revocations::default(),
        ),
        metrics: Metrics::new(&Registry::new()),
        tracer: None,
    })
}

fn hub() -> Hub {
    let mut limits = hub::Limits::SMALL;
    limits.outbox.capacity = 64;
    limits.outbox.max_delay = Duration::from_millis(500);
    Hub::new(limits, Metrics::new(&Registry::new()))
}

async fn connect(control_frames: bool, replay: Replay) -> Harness {
    connect_with(settings(), control_frames, replay).await
}

async fn connect_with(
    settings: Arc<ConnectionSettings>,
    control_frames: bool,
    replay: Replay,
) -> Harness {
    let (client, server) = tokio::io::duplex(1 << 12);
    let server = FrameLimiter::new(server, &[], Arc::clone(&settings));
    let server =
        WebSocketStream::from_raw_socket(server, Role::Server, Some(socket_config(1 << 14)));
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None);
    let (server, client) = tokio::join!(server, client);
    let hub = hub();
    let registration = hub.register(&user(), Uuid::new_v4()).unwrap();
    assert_eq!(hub.mark_subscribed(&entry()), Subscribed::Live);
    let expires_at = u64::try_from(Timestamp::now().as_second()).unwrap() + TOKEN_LIFE.as_secs();
    let identity = Identity { user: user(), expires_at, credential: Credential::default() };
    let options = ClientOptions { control_frames, filter: Filter::default() };
    let connection = Connection::new(server, registration, &identity, options, settings);
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(connection.run(replay, shutdown.clone()));
    Harness { client, hub, shutdown, task }
}

/// The only entry of the user.
fn entry() -> Subscription {
    Subscription { user: user(), generation: 1 }
}

fn no_history() -> Replay {
    Box::pin(stream::iter([ReplayPage::without_history(Resume::None)]))
}

fn frame(ms: u64) -> Frame {
    Frame::published(format!("{{\"id\":\"{ms}-0\",\"category\":\"a\",\"data\":{{}}}}").into())
}

fn waiting(ms: u64) -> Frame {
    Frame { low_priority: true, ..frame(ms) }
}

impl Harness {
    async fn json(&mut self) -> Value {
        loop {
            match self.client.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn say(&mut self, message: impl Into<Message>) {
        self.client.send(message.into()).await.unwrap();
    }

    /// Reads to the end; returns the close code and how the connection ended.
    async fn closed(mut self) -> (u16, Disconnect) {
        let mut code = None;
        while let Some(Ok(message)) = self.client.next().await {
            if let Message::Close(Some(frame)) = message {
                code = Some(frame.code.into());
            }
        }
        drop(self.client);
        (code.expect("a close frame"), self.task.await.unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_frame_is_authenticated_if_the_client_negotiated_control_frames() {
    let mut harness = connect(true, no_history()).await;
    harness.hub.deliver("u", frame(7));
    let first = harness.json().await;
    assert_eq!(first["data"]["state"], "authenticated");
    assert_eq!(first["data"]["resume"], "none");
    assert_eq!(first["data"]["ping_interval_s"], 30);
    assert_eq!(harness.json().await["id"], "7-0");
}

#[tokio::test(start_paused = true)]
async fn live_frames_wait_behind_the_history_and_none_is_sent_twice() {
    let (frames, resume) = (vec![frame(1), frame(2), frame(3)], Resume::Complete);
    let (start, started) = tokio::sync::oneshot::channel::<()>();
    let page = async move {
        started.await.unwrap();
        ReplayPage { resume, frames, replayed_to: frame(3).position, is_last: true, read: None }
    };
    let mut harness = connect(false, Box::pin(stream::once(page))).await;
    harness.hub.deliver("u", frame(2));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(harness.client.next().now_or_never().is_none());
    start.send(()).unwrap();
    assert_eq!(harness.json().await["id"], "1-0");
    harness.hub.deliver("u", frame(3));
    harness.hub.deliver("u", frame(4));
    for id in ["2-0", "3-0", "4-0"] {
        assert_eq!(harness.json().await["id"], id);
    }
}

#[tokio::test(start_paused = true)]
async fn a_low_priority_frame_waits_for_others_up_to_the_maximum_delay() {
    let mut harness = connect(false, no_history()).await;
    tokio::task::yield_now().await;
    let start = time::Instant::now();
    harness.hub.deliver("u", waiting(1));
    assert_eq!(harness.json().await["id"], "1-0");
    assert_eq!(start.elapsed().as_millis() / 10, 50);
    harness.hub.deliver("u", waiting(2));
    harness.hub.deliver("u", frame(3));
    assert_eq!(harness.json().await["id"], "2-0");
    assert_eq!(harness.json().await["id"], "3-0");
    assert_eq!(start.elapsed().as_millis() / 10, 50);
}

#[tokio::test(start_paused = true)]
async fn pings_filters_and_unknown_messages_do_not_stop_delivery() {
    let mut harness = connect(true, no_history()).await;
    harness.json().await;
    harness.say("nonsense").await;
    harness.say(r#"{"type":"filter","categories":["b"]}"#).await;
    for up_to in ["7-0", "soon", "9-0"] {
        harness.say(json!({"type": "read", "up_to": up_to}).to_string()).await;
    }
    harness.say(r#"{"type":"ping"}"#).await;
    assert_eq!(harness.json().await, json!({"type": "pong"}));
    let [taken] = &harness.hub.read_requests().take(9)[..] else { panic!("one user") };
    assert_eq!(taken.request.up_to, "9-0".parse().ok());
    harness.hub.deliver("u", frame(1));
    harness.say(r#"{"type":"auth","token":"a.b.c"}"#).await;
    let refused = harness.json().await;
    assert_eq!(refused["data"]["state"], "error");
    assert_eq!(refused["data"]["error_code"], "AUTHENTICATION_ERROR");
    harness.say(r#"{"type":"filter","categories":[]}"#).await;
    harness.say(r#"{"type":"ping"}"#).await;
    harness.json().await;
    harness.hub.deliver("u", frame(2));
    assert_eq!(harness.json().await["id"], "2-0");
}

#[tokio::test(start_paused = true)]
async fn a_protocol_error_closes_the_connection_with_its_code() {
    for (message, code) in
        [(Message::Binary(vec![1].into()), 1003), (Message::Text("x".repeat(5000).into()), 1009)]
    {
        let mut harness = connect(false, no_history()).await;
        harness.say(message).await;
        assert_eq!(harness.closed().await.0, code);
    }
    for (bytes, code) in [
        // An unmasked text; a masked text that is not UTF-8.
        (&[0x81, 0x01, b'x'][..], 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], 1007),
    ] {
        let mut harness = connect(false, no_history()).await;
        tokio::io::AsyncWriteExt::write_all(harness.client.get_mut(), bytes).await.unwrap();
        assert_eq!(harness.closed().await.0, code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_when_its_token_has_expired() {
    let start = time::Instant::now();
    let (code, end) = connect(false, no_history()).await.closed().await;
    assert_eq!((code, end), (1008, Disconnect::ByGateway(CloseReason::TokenExpired)));
    let end = TOKEN_LIFE + settings().expiry_grace;
    assert!(start.elapsed() + Duration::from_secs(2) > end);
    assert!(start.elapsed() <= end + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_pings_is_closed_after_two_intervals() {
    let harness = connect(false, no_history()).await;
    let start = time::Instant::now();
    // The client does not read, and so does not answer pings.
    assert_eq!(harness.task.await.unwrap(), Disconnect::ByGateway(CloseReason::KeepaliveTimeout));
    assert_eq!(start.elapsed().as_secs(), 60 + close::TIMEOUT.as_secs());
    drop(harness.client);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_closed_and_its_registration_dropped() {
    let harness = connect(false, no_history()).await;
    let text = format!("{{\"id\":\"1-0\",\"data\":\"{}\"}}", "x".repeat(100_000));
    harness.hub.deliver("u", Frame::published(text.into()));
    for ms in 2..200 {
        tokio::task::yield_now().await;
        harness.hub.deliver("u", frame(ms));
    }
    let hub = harness.hub.clone();
    // The close frame waits behind what the client has not read yet.
    time::sleep(3 * close::TIMEOUT).await;
    assert_eq!(harness.closed().await, (1013, Disconnect::ByGateway(CloseReason::TooSlow)));
    assert_eq!(hub.position(&user()), None);
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_a_client_receives_the_time_to_reconnect() {
    let mut harness = connect(true, no_history()).await;
    harness.json().await;
    let start = time::Instant::now();
    harness.shutdown.cancel();
    let last = harness.json().await;
    assert_eq!(last["data"]["state"], "disconnected");
    assert_eq!(last["data"]["reason"], "restarting");
    let delay = last["data"]["reconnect_after_ms"].as_u64().unwrap();
    assert!((500..=2000).contains(&delay), "{delay}");
    assert!(start.elapsed() <= Duration::from_secs(10));
    assert_eq!(harness.closed().await, (1012, Disconnect::ByGateway(CloseReason::Restarting)));
}

#[tokio::test(start_paused = true)]
async fn a_gap_behind_the_gateway_is_reported_in_order() {
    let mut harness = connect(true, no_history()).await;
    harness.json().await;
    harness.hub.deliver("u", frame(1));
    harness.hub.report_gap(&entry(), Resync::Continue);
    assert_eq!(harness.json().await["id"], "1-0");
    assert_eq!(harness.json().await["data"]["resume"], "incomplete");
}
