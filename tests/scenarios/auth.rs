//! Tokens: how a client sends one, and how a connection depends on it.

use anyhow::ensure;
use harness::{
    client::{ConnectOptions, Transport},
    events::{self, fresh_user},
    stack::{Layout, TIMEOUT},
    token,
};
use hyper::header;
use serde_json::json;

use crate::{
    assertions::{expect_error_close, expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_token_is_accepted_as_a_header_a_subprotocol_or_a_query_parameter,
    a_client_without_a_subprotocol_receives_only_notifications,
    a_connection_ends_with_its_token_unless_the_token_is_renewed,
    a_new_token_may_be_as_large_as_in_a_handshake,
    a_token_from_an_issuer_whose_clock_is_seconds_ahead_is_accepted,
    a_token_of_another_user_does_not_take_over_a_connection,
    browsers_connect_from_listed_origins_only,
];

async fn a_token_is_accepted_as_a_header_a_subprotocol_or_a_query_parameter(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for transport in Transport::ALL {
        for path in ["/ws", "/ws/"] {
            let user = fresh_user();
            let token = stack.token(&user)?;
            let connection = ConnectOptions::new(stack.gateways[0].address()).path(path);
            let mut client = connection.token(&token, transport).open().await?;
            let protocol = client.headers.get(header::SEC_WEBSOCKET_PROTOCOL);
            let protocol = protocol.map(|name| name.to_str()).transpose()?;
            let expected = (transport == Transport::Subprotocol).then_some("huleedu.v1");
            ensure!(protocol == expected, "expected subprotocol {expected:?}, got {protocol:?}");
            stack.wait_for_subscriptions(&user, 1).await?;
            let event = events::designed()?[0].fresh(&user)?;
            stack.producer.send(&event).await?;
            expect_notifications(&mut client, &[event]).await?;
        }
    }
    Ok(())
}

async fn a_client_without_a_subprotocol_receives_only_notifications(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.token(&stack.token(&user)?, Transport::Query).open().await?;
    stack.wait_for_subscriptions(&user, 1).await?;
    let notification = json!({"event": "first", "data": {}});
    stack.publish(&user, &notification.to_string()).await?;
    let first = client.next_frame(TIMEOUT).await?;
    ensure!(first == notification, "expected {notification} as the first frame, got {first}");
    Ok(())
}

async fn a_connection_ends_with_its_token_unless_the_token_is_renewed(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let short = token::sign(&token::claims(&user, 3), &stack.secret)?;
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let connection = connection.token(&short, Transport::Subprotocol);
    let mut ends = connection.open().await?;
    ends.expect_authenticated(TIMEOUT).await?;
    let mut stays = connection.open().await?;
    stays.expect_authenticated(TIMEOUT).await?;
    stays.send_json(&json!({"type": "auth", "token": stack.token(&user)?})).await?;
    expect_error_close(&mut ends, 1008, "AUTHENTICATION_ERROR").await?;
    expect_no_further_frames(stack, &user, &mut [stays]).await
}

async fn a_new_token_may_be_as_large_as_in_a_handshake(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut claims = token::claims(&user, 3600);
    claims["groups"] = "x".repeat(9_000).into();
    let token = token::sign(&claims, &stack.secret)?;
    ensure!(token.len() > 12_000, "the token has {} bytes", token.len());
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.token(&token, Transport::Subprotocol).open().await?;
    client.expect_authenticated(TIMEOUT).await?;
    client.send_json(&json!({"type": "auth", "token": token})).await?;
    let answer = client.next_frame(TIMEOUT).await?;
    ensure!(answer["data"]["state"] == "connected", "expected state connected, got {answer}");
    Ok(())
}

async fn a_token_from_an_issuer_whose_clock_is_seconds_ahead_is_accepted(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let ahead = jiff::Timestamp::now().as_second() + 3;
    let mut claims = token::claims(&user, 3600);
    for claim in ["iat", "nbf"] {
        claims[claim] = ahead.into();
    }
    let token = token::sign(&claims, &stack.secret)?;
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.token(&token, Transport::Subprotocol).open().await?;
    client.expect_authenticated(TIMEOUT).await.map(drop)
}

async fn a_token_of_another_user_does_not_take_over_a_connection(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user, other) = (context.stack().await?, fresh_user(), fresh_user());
    let mut client = stack.client(&user).await?;
    client.send_json(&json!({"type": "auth", "token": stack.token(&other)?})).await?;
    let mut other_client = stack.client(&other).await?;
    let event = events::designed()?[0].fresh(&other)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut other_client, &[event]).await?;
    // The connection may stay or be closed, but receives nothing of the other user.
    stack.publish(&user, r#"{"event":"marker"}"#).await?;
    match client.next_notification(TIMEOUT).await {
        Ok(frame) => ensure!(frame["event"] == "marker", "received another user's frame: {frame}"),
        Err(error) => ensure!(error.to_string().contains("closed"), "expected a close: {error:#}"),
    }
    Ok(())
}

async fn browsers_connect_from_listed_origins_only(context: &Context) -> anyhow::Result<()> {
    // Browsers leave out the default port of a scheme.
    let origins = ["https://app.example", "http://127.0.0.1:5173", "https://other.example:443"];
    let origins = json!(origins).to_string();
    let gateway_settings = vec![("CORS_ORIGINS", origins)];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let connection = stack.connection(0, &fresh_user())?;
    // Without an origin: not a browser.
    connection.open().await?.expect_authenticated(TIMEOUT).await?;
    for listed in ["https://app.example", "http://127.0.0.1:5173", "https://other.example"] {
        let connection = connection.clone().header(header::ORIGIN, listed);
        connection.open().await?.expect_authenticated(TIMEOUT).await?;
    }
    for other in [
        "null",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:444",
        "https://evil.example",
    ] {
        let connection = connection.clone().header(header::ORIGIN, other);
        let status = connection.refused_status().await?;
        ensure!(status == 403, "origin {other}: expected status 403, got {status}");
    }
    stack.shut_down_and_check_logs().await
}
