//! Requests from an address that has taken its share of the handshakes.

use super::*;
use crate::auth::TokenResult;

/// Returns a state in which requests without a token have taken the share of the address.
async fn flooded() -> Arc<ServerState> {
    let state = state(settings());
    while status(&state, get_events()).await != StatusCode::TOO_MANY_REQUESTS {}
    state
}

fn counted(state: &ServerState, result: HandshakeResult) -> u64 {
    state.connection.metrics.connections.of(result).get()
}

#[tokio::test(start_paused = true)]
async fn a_good_token_is_let_in_and_nothing_else() {
    let state = flooded().await;
    let before = counted(&state, HandshakeResult::AddressRateLimited);
    let good = format!("/ws?token={}", token());
    for (uri, expected) in [
        ("/ws", StatusCode::TOO_MANY_REQUESTS),
        ("/ws?token=a.b.c", StatusCode::TOO_MANY_REQUESTS),
        (good.as_str(), StatusCode::SWITCHING_PROTOCOLS),
    ] {
        let response = respond(&state, get(uri, &UPGRADE)).await;
        assert_eq!(response.status(), expected, "{uri}");
        let has_delay = response.headers().contains_key(header::RETRY_AFTER);
        assert_eq!(has_delay, expected == StatusCode::TOO_MANY_REQUESTS, "{uri}");
    }
    assert_eq!(counted(&state, HandshakeResult::AddressRateLimited), before + 2);
    let checks = &state.connection.metrics.jwt_validations;
    assert_eq!(checks.of(TokenResult::from(&Ok::<_, AuthError>(()))).get(), 1);
    assert_eq!(checks.of(TokenResult::from(&Err::<(), _>(AuthError::Invalid))).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_user_takes_a_share_there_like_anywhere() {
    let state = flooded().await;
    let good = format!("/ws?token={}", token());
    // It is not an upgrade, so that it takes no connection.
    let mut accepted = 0;
    while status(&state, get(&good, &HOST)).await == StatusCode::UPGRADE_REQUIRED {
        accepted += 1;
    }
    assert_eq!((accepted, counted(&state, HandshakeResult::UserRateLimited)), (25, 1));
}
