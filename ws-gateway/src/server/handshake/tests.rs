use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use hyper::{Version, header::HeaderName};
use prometheus::Registry;
use serde_json::{Value, json};
use shared::metrics::Label as _;
use tokio::{net::TcpStream, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    auth::{AuthError, Authenticator, Key, TokenRules, revocation::Revocations},
    connection::{ConnectionSettings, SharedSocket, socket_config},
    hub::{self, Hub},
    metrics::Metrics,
    protocol::CloseReason,
    redis::History,
    server::{ServerSettings, TrustedProxies},
};

mod events;
mod rate;
mod read;

const SECRET: &str = "a-secret-that-is-long-enough-for-tests";

const UPGRADE: [(HeaderName, &str); 5] = [
    (header::HOST, "gateway.example.org"),
    (header::UPGRADE, "WebSocket"),
    (header::CONNECTION, "keep-alive, Upgrade"),
    (header::SEC_WEBSOCKET_VERSION, "13"),
    (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
];

const HOST: [(HeaderName, &str); 1] = [(header::HOST, "gateway.example.org")];

pub(in crate::server) fn settings() -> ServerSettings {
    let [few, many] = [10, 10_000].map(|number| NonZeroUsize::new(number).unwrap());
    ServerSettings {
        service: "s".into(),
        environment: "e".into(),
        max_connections_per_user: few,
        origins: None,
        socket: socket_config(4096),
        handshake_timeout: Duration::from_secs(10),
        max_request_head: many,
        max_query_length: many,
        max_handshakes_per_second: NonZeroU32::new(100).unwrap(),
        max_pending_connections: few,
        max_connections: few,
        max_connections_per_address: None,
        trusted_proxies: TrustedProxies::default(),
    }
}

pub(in crate::server) fn state(settings: ServerSettings) -> Arc<ServerState> {
    state_with(settings, Revocations::default())
}

pub(in crate::server) fn state_with(
    settings: ServerSettings,
    revocations: Revocations,
) -> Arc<ServerState> {
    revocations.set_loaded();
    let metrics = Metrics::new(&Registry::new());
    let history = History::new(watch::channel(None).1, 1 << 20, metrics.clone());
    let rules = TokenRules::new(&[jsonwebtoken::Algorithm::HS256], None, None, Duration::ZERO);
    let keys = vec![Key::from_secret(&SECRET.into(), &rules).unwrap()];
    let connection = ConnectionSettings {
        ping_interval: Duration::from_secs(30),
        epoch: tokio::time::Instant::now(),
        keepalive_timeout: Duration::from_mins(1),
        expiry_grace: Duration::ZERO,
        max_message_size: 4096,
        max_messages_per_second: NonZeroU32::new(50).unwrap(),
        drain_window: Duration::ZERO,
        authenticator: Authenticator::new(keys.into(), revocations),
        metrics: metrics.clone(),
        tracer: None,
    };
    let (hub, tasks) = (Hub::new(hub::Limits::SMALL, metrics), TaskTracker::new());
    let shutdown = CancellationToken::new();
    Arc::new(ServerState::new(settings, connection, hub, history, tasks, shutdown))
}

pub(in crate::server) async fn respond(state: &Arc<ServerState>, request: Request<()>) -> Response {
    let peer = IpAddr::from([127, 0, 0, 1]);
    super::respond::<SharedSocket<TcpStream>>(state, request, peer, &Activity::default()).await
}

async fn status(state: &Arc<ServerState>, request: Request<()>) -> StatusCode {
    respond(state, request).await.status()
}

pub(in crate::server) fn token() -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let claims = json!({"sub": "u", "exp": 32_503_680_000_u64});
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn get(uri: &str, headers: &[(HeaderName, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(()).unwrap()
}

/// Returns a request for events without a token.
pub(in crate::server) fn get_events() -> Request<()> {
    get("/events", &HOST)
}

fn upgrade_with(name: HeaderName, value: &str) -> Request<()> {
    get("/ws", &[&UPGRADE[..], &[(name, value)]].concat())
}

async fn body(response: Response) -> Value {
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_handshake_selects_the_subprotocol_and_never_echoes_the_token() {
    let offered = format!("huleedu.v1, huleedu.token.{}", token());
    for uri in ["/ws", "/ws/"] {
        let offered = (header::SEC_WEBSOCKET_PROTOCOL, offered.as_str());
        let request = get(uri, &[&UPGRADE[..], &[offered]].concat());
        let response = respond(&state(settings()), request).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let accept = &response.headers()[header::SEC_WEBSOCKET_ACCEPT];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "huleedu.v1");
    }
}

#[tokio::test]
async fn a_refused_token_still_completes_the_handshake() {
    let response = respond(&state(settings()), get("/ws?token=a.b.c", &UPGRADE)).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert!(!response.headers().contains_key(header::SEC_WEBSOCKET_PROTOCOL));
}

#[tokio::test]
async fn a_plain_request_gets_401_without_a_token_and_426_with_one() {
    let state = state(settings());
    assert_eq!(status(&state, get("/ws", &HOST)).await, StatusCode::UNAUTHORIZED);
    let valid = respond(&state, get(&format!("/ws?token={}", token()), &HOST)).await;
    assert_eq!(valid.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(valid.headers()[header::UPGRADE], "websocket");
    let mut post = get("/ws", &UPGRADE);
    *post.method_mut() = Method::POST;
    assert_eq!(status(&state, post).await, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn another_version_and_an_invalid_key_are_refused() {
    let state = state(settings());
    let mut old = UPGRADE;
    old[3].1 = "8";
    let response = respond(&state, get("/ws", &old)).await;
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_VERSION], "13");
    let mut short = UPGRADE;
    short[4].1 = "dGhl";
    assert_eq!(status(&state, get("/ws", &short)).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_upgrade_that_breaks_a_rule_of_http_gets_400() {
    let state = state(settings());
    let mut old = get("/ws", &UPGRADE);
    *old.version_mut() = Version::HTTP_10;
    for request in [
        old,
        get("/ws", &UPGRADE[1..]),
        upgrade_with(header::HOST, "another.example.org"),
        upgrade_with(header::TRANSFER_ENCODING, "chunked"),
        upgrade_with(header::CONTENT_LENGTH, "7"),
        get("/ws?token=a.b.c&token=d.e.f", &UPGRADE),
    ] {
        let text = format!("{request:?}");
        assert_eq!(status(&state, request).await, StatusCode::BAD_REQUEST, "{text}");
    }
    let empty = upgrade_with(header::CONTENT_LENGTH, "0");
    assert_eq!(status(&state, empty).await, StatusCode::SWITCHING_PROTOCOLS);
    for host in ["", "a b", "user@gateway.example.org", "gateway.example.org/ws"] {
        let request = get("/healthz", &[(header::HOST, host)]);
        assert_eq!(status(&state, request).await, StatusCode::BAD_REQUEST, "{host:?}");
    }
    for host in ["[::1]:8080", "10.0.0.1:80", "GATEWAY"] {
        let request = get("/healthz", &[(header::HOST, host)]);
        assert_eq!(status(&state, request).await, StatusCode::OK, "{host}");
    }
    let mut health = get("/healthz", &[]);
    *health.version_mut() = Version::HTTP_10;
    assert_eq!(status(&state, health).await, StatusCode::OK);
}

#[tokio::test]
async fn only_allowed_origins_connect() {
    let origins = r#"["https://app.example.org"]"#.parse().unwrap();
    let state = state(ServerSettings { origins: Some(origins), ..settings() });
    for (origin, expected) in [
        ("https://app.example.org", StatusCode::SWITCHING_PROTOCOLS),
        ("https://evil.example.org", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        let request = upgrade_with(header::ORIGIN, origin);
        assert_eq!(status(&state, request).await, expected, "{origin}");
    }
    let without_origin = get("/ws", &UPGRADE);
    assert_eq!(status(&state, without_origin).await, StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn handshakes_above_a_limit_get_503_with_the_limit_and_retry_after() {
    let slow = ServerSettings { max_handshakes_per_second: NonZeroU32::MIN, ..settings() };
    let small = ServerSettings { max_connections: NonZeroUsize::MIN, ..settings() };
    for limited in [slow, small] {
        let state = state(limited);
        let first = status(&state, get("/ws", &UPGRADE)).await;
        assert_eq!(first, StatusCode::SWITCHING_PROTOCOLS);
        let second = respond(&state, get("/ws", &UPGRADE)).await;
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(second.headers().contains_key(header::RETRY_AFTER));
        let message = body(second).await["error"].to_string();
        assert!(message.contains("reached (limit: 1)"), "{message}");
    }
}

#[tokio::test]
async fn one_address_does_not_use_up_the_connections_of_others() {
    let one = NonZeroUsize::new(1);
    let state = state(ServerSettings { max_connections_per_address: one, ..settings() });
    let first = status(&state, get("/ws", &UPGRADE)).await;
    assert_eq!(first, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(status(&state, get("/ws", &UPGRADE)).await, StatusCode::TOO_MANY_REQUESTS);
    let peer = IpAddr::from([127, 0, 0, 2]);
    let other = super::respond::<SharedSocket<TcpStream>>(
        &state,
        get("/ws", &UPGRADE),
        peer,
        &Activity::default(),
    )
    .await;
    assert_eq!(other.status(), StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn a_long_query_gets_414_and_a_label_of_its_own() {
    let max_query_length = NonZeroUsize::new(10).unwrap();
    let state = state(ServerSettings { max_query_length, ..settings() });
    let refused = status(&state, get("/ws?token=a.b.c", &UPGRADE)).await;
    assert_eq!(refused, StatusCode::URI_TOO_LONG);
    let connections = &state.connection.metrics.connections;
    assert_eq!(connections.of(HandshakeResult::QueryTooLong).get(), 1);
}

#[tokio::test]
async fn health_responses_have_the_form_that_deployed_checks_expect() {
    let state = state(settings());
    let health = respond(&state, get("/healthz", &HOST)).await;
    assert_eq!(health.status(), StatusCode::OK);
    let health = body(health).await;
    assert_eq!((&health["service"], &health["status"]), (&json!("s"), &json!("healthy")));
    assert_eq!(health["environment"], "e");
    assert!(health["timestamp"].is_string() && health["uptime_seconds"].is_number());
    let redis = status(&state, get("/healthz/redis", &HOST)).await;
    assert_eq!(redis, StatusCode::SERVICE_UNAVAILABLE);
    let sockets = body(respond(&state, get("/healthz/websocket", &HOST)).await).await;
    assert_eq!(
        (&sockets["total_connections"], &sockets["max_connections_per_user"]),
        (&json!(0), &json!(10))
    );
    assert_eq!(status(&state, get("/metrics", &HOST)).await, StatusCode::NOT_FOUND);
}

#[test]
fn the_close_reason_of_every_refused_token_is_json_and_fits_into_a_close_frame() {
    for error in AuthError::all() {
        let reason = CloseReason::unauthenticated(error.message()).reason;
        assert!(reason.len() <= 123, "{error:?}");
        let reason: Value = serde_json::from_str(&reason).unwrap();
        assert_eq!(reason["error_code"], "AUTHENTICATION_ERROR");
        assert_eq!(reason["message"], error.message());
    }
}
