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
}
