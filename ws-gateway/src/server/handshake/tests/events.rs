//! Requests for events over plain HTTP.

use tokio::time::Instant;

use super::*;

const ACCEPT: [(HeaderName, &str); 2] =
    [(header::HOST, "gateway.example.org"), (header::ACCEPT, "application/json")];
const ORIGIN: &str = "https://app.example.org";

fn poll(uri: &str, token: &str) -> Request<()> {
    let bearer = format!("Bearer {token}");
    get(uri, &[&ACCEPT[..], &[(header::AUTHORIZATION, &bearer)]].concat())
}

/// Answers a request, and subscribes its user meanwhile, as the Redis subscriber does that.
async fn poll_subscribed(state: &Arc<ServerState>, request: Request<()>) -> Response {
    let subscribed = async {
        state.hub.changed().await;
        for pending in state.hub.plan(state.hub.take_changed()).subscribe {
            let marked = state.hub.mark_subscribed(&pending.subscription);
            assert_eq!(marked, hub::Subscribed::Live);
        }
        std::future::pending().await
    };
    // A request that is refused subscribes no user.
    tokio::select! {
        response = respond(state, request) => response,
        response = subscribed => response,
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_a_position_is_answered_at_once_with_one() {
    let state = state(settings());
    let response = poll_subscribed(&state, poll("/events", &token())).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store, no-transform");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let answer = body(response).await;
    assert_eq!(answer, json!({"frames": [], "next": "0-0", "resume": "none"}));
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_history_is_not_read_in_time_is_refused_and_may_resume_again() {
    // Without Redis, no page of a history is read.
    let state = state(settings());
    let response = poll_subscribed(&state, poll("/events?after=7-0", &token())).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let state = super::state(settings());
    let invalid = body(poll_subscribed(&state, poll("/events?after=x", &token())).await).await;
    assert_eq!(invalid["resume"], "incomplete");
    assert_eq!(invalid["retry_after_ms"], Value::Null, "the next poll has a position");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_accepted_as_a_bearer_token_only() {
    let state = state(settings());
    let in_query = get(&format!("/events?token={}", token()), &ACCEPT);
    let protocol = format!("huleedu.token.{}", token());
    let protocol = [&ACCEPT[..], &[(header::SEC_WEBSOCKET_PROTOCOL, &protocol)]].concat();
    for request in [in_query, get("/events", &protocol), poll("/events", "a.b.c")] {
        let response = respond(&state, request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(body(response).await["code"], 1008);
    }
}

#[tokio::test(start_paused = true)]
async fn a_user_has_no_more_polls_than_connections() {
    let state = state(settings());
    let user = shared::user::UserId::new("u").unwrap();
    let register = || state.hub.register(&user, uuid::Uuid::new_v4()).unwrap();
    // They do not answer a ping, but one of them is only pinged after the request.
    let _connections = [register(), register()];
    let start = Instant::now();
    let response = respond(&state, poll("/events", &token())).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(body(response).await["code"], 4000);
    assert!(start.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn the_accept_header_selects_the_transport() {
    for (accept, expected) in [
        ("APPLICATION/JSON", "application/json"),
        ("text/event-stream;q=0, */*", "application/json"),
        ("text/*, application/json;q=0", "text/event-stream"),
        ("application/*", "application/json"),
        ("*/*", "text/event-stream"),
    ] {
        let mut request = poll("/events", &token());
        request.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
        let response = poll_subscribed(&state(settings()), request).await;
        assert_eq!(response.status(), StatusCode::OK, "{accept}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], expected, "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_last_event_id_does_not_replace_the_position_of_the_url() {
    let mut request = poll("/events?after=7-0", &token());
    request.headers_mut().insert("last-event-id", "".parse().unwrap());
    let response = poll_subscribed(&state(settings()), request).await;
    // Without a position it would be 200; without Redis, the history is not read.
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_request_that_accepts_no_transport_gets_406_and_another_method_405() {
    let state = state(settings());
    let image = get("/events", &[&HOST[..], &[(header::ACCEPT, "image/png")]].concat());
    assert_eq!(status(&state, image).await, StatusCode::NOT_ACCEPTABLE);
    let mut post = get("/events", &HOST);
    *post.method_mut() = Method::POST;
    let response = respond(&state, post).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "GET, OPTIONS");
}

#[tokio::test]
async fn every_refusal_closes_the_tcp_connection() {
    let max_query_length = NonZeroUsize::new(30).unwrap();
    let state = state(ServerSettings { max_query_length, ..settings() });
    for (request, status) in [
        (get("/events", &[]), StatusCode::BAD_REQUEST),
        (get("/events", &HOST), StatusCode::UNAUTHORIZED),
        (get(&format!("/events?after={}", "0".repeat(30)), &HOST), StatusCode::URI_TOO_LONG),
    ] {
        let response = respond(&state, request).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header::CONNECTION], "close", "{status}");
    }
}

#[tokio::test]
async fn scripts_of_an_allowed_origin_may_send_a_token_and_read_refusals() {
    let origins = format!("[\"{ORIGIN}\"]").parse().unwrap();
    let state = state(ServerSettings { origins: Some(origins), ..settings() });
    let request = |method, origin| {
        let mut request = get("/events", &[&ACCEPT[..], &[(header::ORIGIN, origin)]].concat());
        *request.method_mut() = method;
        request
    };
    let preflight = respond(&state, request(Method::OPTIONS, ORIGIN)).await;
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    let allowed = &preflight.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS];
    assert_eq!(allowed, "authorization, last-event-id");
    let refused = respond(&state, request(Method::GET, ORIGIN)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    for response in [preflight, refused] {
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], ORIGIN);
        assert_eq!(response.headers()[header::VARY], "Origin");
    }
    for method in [Method::OPTIONS, Method::GET] {
        let response = respond(&state, request(method, "https://evil.example.org")).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_has_a_deadline_once_its_connection_has_ended() {
    let (state, activity) = (state(settings()), Activity::default());
    let bearer = format!("Bearer {}", token());
    let more = [(header::ACCEPT, "text/event-stream"), (header::AUTHORIZATION, &bearer)];
    let request = get("/events", &[&HOST[..], &more].concat());
    let peer = IpAddr::from([127, 0, 0, 1]);
    let mut changes = activity.subscribe();
    let respond = super::super::respond::<SharedSocket<TcpStream>>;
    let unread = respond(&state, request, peer, &activity).await;
    assert_eq!(unread.status(), StatusCode::OK);
    assert!(*changes.borrow_and_update());
    state.shutdown.cancel();
    changes.wait_for(|is_active| !is_active).await.unwrap();
    drop(unread);
}
