//! Requests to mark notifications as read.

use super::*;
use crate::hub::read_requests::TakenRequest;

fn post(uri: &str) -> Request<()> {
    let bearer = format!("Bearer {}", token());
    let mut request = get(uri, &[&HOST[..], &[(header::AUTHORIZATION, &bearer)]].concat());
    *request.method_mut() = Method::POST;
    request
}

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_with_the_read_state_or_503() {
    let state = state(settings());
    let redis = async {
        let requests = state.hub.read_requests();
        requests.due().await;
        for TakenRequest { user, request, .. } in requests.take(1) {
            assert_eq!((user.as_str(), request.up_to), ("u", "7-0".parse().ok()));
            for answer in request.answers {
                answer.send(r#"{"unread":0}"#.into()).unwrap();
            }
        }
    };
    let (response, ()) = tokio::join!(respond(&state, post("/read?up_to=7-0")), redis);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await, json!({"unread": 0}));
    let response = respond(&state, post("/read")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(counted(&state), [1, 0, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_request_without_a_token_a_valid_position_or_post_is_refused() {
    let state = state(settings());
    let mut anonymous = get("/read", &HOST);
    *anonymous.method_mut() = Method::POST;
    assert_eq!(status(&state, anonymous).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&state, post("/read?up_to=7")).await, StatusCode::BAD_REQUEST);
    let response = respond(&state, get("/read", &HOST)).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "POST, OPTIONS");
    assert!(state.hub.read_requests().take(1).is_empty());
    assert_eq!(counted(&state), [0, 1, 0, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_user_cannot_use_up_the_requests_of_others_behind_the_same_address() {
    let state = state(settings());
    let spend = async {
        while respond(&state, post("/read")).await.status() != StatusCode::TOO_MANY_REQUESTS {}
    };
    let redis = async {
        loop {
            let requests = state.hub.read_requests();
            requests.due().await;
            for answer in requests.take(1).into_iter().flat_map(|taken| taken.request.answers) {
                answer.send("{}".into()).unwrap();
            }
        }
    };
    tokio::select! {
        () = spend => {}
        () = redis => {}
    }
    assert!(counted(&state)[0] >= 40, "{:?}", counted(&state));
    assert_eq!(status(&state, get("/ws", &UPGRADE)).await, StatusCode::SWITCHING_PROTOCOLS);
}

/// Returns the number of requests by result.
fn counted(state: &ServerState) -> [u64; 6] {
    use crate::metrics::ReadResult::{
        Answered, ForbiddenOrigin, Malformed, RateLimited, Unauthenticated, Unavailable,
    };
    let counts = &state.connection.metrics.read_requests;
    [Answered, Unauthenticated, ForbiddenOrigin, RateLimited, Malformed, Unavailable]
        .map(|result| counts.of(result).get())
}
