use clap::Parser;
use hyper::{Method, StatusCode, header, header::HeaderName};
use prometheus::Registry;
use serde_json::{Value, json};
use shared::metrics::Label as _;
use tokio::sync::watch;

use super::*;
use crate::{
    auth::{AuthError, Authenticator, Key, TokenRules, revocation::Revocations},
    hub::{self, LimitPolicy, outbox},
    metrics::Metrics,
    protocol::CloseReason,
};

const SECRET: &str = "a-secret-that-is-long-enough-for-tests";

const UPGRADE: [(HeaderName, &str); 4] = [
    (header::UPGRADE, "WebSocket"),
    (header::CONNECTION, "keep-alive, Upgrade"),
    (header::SEC_WEBSOCKET_VERSION, "13"),
    (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn server(arguments: &[&str]) -> Server {
    let config = Config::try_parse_from([&["ws-gateway"], arguments].concat()).unwrap();
    let metrics = Metrics::new(&Registry::new());
    let limits = hub::Limits {
        per_user: config.limits.websocket_max_connections_per_user,
        policy: LimitPolicy::Reject,
        outbox: outbox::Limits { capacity: 8, max_delay: Duration::ZERO },
    };
    let keys = shared::keys::Keys::new("ws");
    let history = History::new(keys, watch::channel(None).1);
    let algorithms = [jsonwebtoken::Algorithm::HS256];
    let rules = TokenRules::new(&algorithms, None, None, Duration::ZERO);
    let keys = vec![Key::from_secret(&SECRET.into(), &rules).unwrap()];
    let settings = ConnectionSettings {
        ping_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_mins(1),
        expiry_grace: Duration::ZERO,
        max_messages_per_second: config.limits.websocket_max_messages_per_second,
        drain_window: Duration::ZERO,
        authenticator: Authenticator::new(keys.into(), Revocations::default()),
        metrics: metrics.clone(),
        tracer: None,
    };
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    Server::new(&config, Hub::new(limits, metrics), history, settings, None, tasks, shutdown)
}

impl Server {
    async fn answer_to(&self, request: Request<()>) -> Response<Full<Bytes>> {
        self.respond::<TcpStream>(request, IpAddr::from([127, 0, 0, 1])).await
    }
}

fn token() -> String {
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

async fn body(response: Response<Full<Bytes>>) -> Value {
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_handshake_is_answered_and_the_token_is_not_repeated() {
    let token = format!("huleedu.v1, huleedu.token.{}", token());
    let offered = (header::SEC_WEBSOCKET_PROTOCOL, token.as_str());
    for uri in ["/ws", "/ws/"] {
        let request = get(uri, &[&UPGRADE[..], std::slice::from_ref(&offered)].concat());
        let response = server(&[]).answer_to(request).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let accept = &response.headers()[header::SEC_WEBSOCKET_ACCEPT];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "huleedu.v1");
    }
}

#[tokio::test]
async fn a_bad_token_still_completes_the_handshake() {
    let response = server(&[]).answer_to(get("/ws?token=a.b.c", &UPGRADE)).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert!(!response.headers().contains_key(header::SEC_WEBSOCKET_PROTOCOL));
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_unauthorised_or_told_to_upgrade() {
    let server = server(&[]);
    assert_eq!(server.answer_to(get("/ws", &[])).await.status(), StatusCode::UNAUTHORIZED);
    let valid = server.answer_to(get(&format!("/ws?token={}", token()), &[])).await;
    assert_eq!(valid.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(valid.headers()[header::UPGRADE], "websocket");
    let mut post = get("/ws", &UPGRADE);
    *post.method_mut() = Method::POST;
    assert_eq!(server.answer_to(post).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_broken_handshake_is_refused() {
    let server = server(&[]);
    let mut old = UPGRADE;
    old[2].1 = "8";
    let response = server.answer_to(get("/ws", &old)).await;
    assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_VERSION], "13");
    let mut short = UPGRADE;
    short[3].1 = "dGhl";
    assert_eq!(server.answer_to(get("/ws", &short)).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_listed_origins_connect() {
    let listed = server(&["--cors-origins", r#"["https://app.example.org"]"#]);
    for (origin, status) in [
        ("https://app.example.org", StatusCode::SWITCHING_PROTOCOLS),
        ("https://evil.example.org", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        let request = get("/ws", &[&UPGRADE[..], &[(header::ORIGIN, origin)]].concat());
        assert_eq!(listed.answer_to(request).await.status(), status, "{origin}");
    }
    let no_browser = listed.answer_to(get("/ws", &UPGRADE)).await;
    assert_eq!(no_browser.status(), StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn too_many_handshakes_or_sockets_are_put_off() {
    for limit in ["--max-handshakes-per-second", "--max-connections"] {
        let server = server(&[limit, "1"]);
        let first = server.answer_to(get("/ws", &UPGRADE)).await;
        assert_eq!(first.status(), StatusCode::SWITCHING_PROTOCOLS);
        let second = server.answer_to(get("/ws", &UPGRADE)).await;
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE, "{limit}");
        assert!(second.headers().contains_key(header::RETRY_AFTER));
    }
}

#[tokio::test]
async fn an_address_has_its_share_of_the_sockets() {
    let server = server(&["--max-connections-per-address", "1"]);
    let first = server.answer_to(get("/ws", &UPGRADE)).await;
    assert_eq!(first.status(), StatusCode::SWITCHING_PROTOCOLS);
    let second = server.answer_to(get("/ws", &UPGRADE)).await;
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    let other =
        server.respond::<TcpStream>(get("/ws", &UPGRADE), IpAddr::from([127, 0, 0, 2])).await;
    assert_eq!(other.status(), StatusCode::SWITCHING_PROTOCOLS);
}

#[tokio::test]
async fn a_query_that_is_too_long_is_refused() {
    let server = server(&["--max-query-length", "10"]);
    let refused = server.answer_to(get("/ws?token=a.b.c", &UPGRADE)).await;
    assert_eq!(refused.status(), StatusCode::URI_TOO_LONG);
}

#[tokio::test]
async fn health_is_told_as_existing_checks_expect_it() {
    let server = server(&["--service-name", "s", "--environment", "e"]);
    let health = server.answer_to(get("/healthz", &[])).await;
    assert_eq!(health.status(), StatusCode::OK);
    let health = body(health).await;
    assert_eq!((&health["service"], &health["status"]), (&json!("s"), &json!("healthy")));
    assert_eq!(health["environment"], "e");
    assert!(health["timestamp"].is_string() && health["uptime_seconds"].is_number());
    let redis = server.answer_to(get("/healthz/redis", &[])).await;
    assert_eq!(redis.status(), StatusCode::SERVICE_UNAVAILABLE);
    let sockets = body(server.answer_to(get("/healthz/websocket", &[])).await).await;
    assert_eq!(
        (&sockets["total_connections"], &sockets["max_connections_per_user"]),
        (&json!(0), &json!(5))
    );
    assert_eq!(server.answer_to(get("/metrics", &[])).await.status(), StatusCode::NOT_FOUND);
}

#[test]
fn the_close_reason_of_every_refused_token_is_json_and_fits_into_a_close_frame() {
    for error in AuthError::all() {
        let reason = CloseReason::Unauthenticated(error.message()).frame().reason;
        assert!(reason.len() <= 123, "{error:?}");
        let reason: Value = serde_json::from_str(&reason).unwrap();
        assert_eq!(reason["error_code"], "AUTHENTICATION_ERROR");
        assert_eq!(reason["message"], error.message());
    }
}
