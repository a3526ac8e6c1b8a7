//! Who may connect: tokens, the ways they come, their life, and origins.

use anyhow::ensure;
use harness::{
    client::{ConnectOptions, Transport},
    events::{self, fresh_user},
    http,
    stack::{Layout, Stack, TIMEOUT},
    token,
};
use hyper::header;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::{
    assertions::{expect_error_close, expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_token_is_taken_from_the_header_the_subprotocol_or_the_query,
    the_first_of_several_tokens_decides,
    without_a_subprotocol_a_client_sees_notifications_alone,
    a_bad_token_is_refused_with_a_code_that_a_browser_can_read,
    a_token_with_a_bad_signature_is_refused,
    a_request_that_is_no_upgrade_gets_an_answer_in_http,
    a_connection_ends_with_its_token_unless_it_gets_a_new_one,
    a_token_of_somebody_else_does_not_take_over_a_connection,
    only_pages_of_a_listed_origin_may_connect,
];

const TRANSPORTS: [Transport; 3] = [Transport::Header, Transport::Subprotocol, Transport::Query];

async fn a_token_is_taken_from_the_header_the_subprotocol_or_the_query(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for transport in TRANSPORTS {
        for path in ["/ws", "/ws/"] {
            let user = fresh_user();
            let token = stack.token(&user)?;
            let connection = ConnectOptions::new(stack.gateways[0].address()).path(path);
            let mut client = connection.token(&token, transport).open().await?;
            let protocol = client.headers.get(header::SEC_WEBSOCKET_PROTOCOL);
            let expected = (transport == Transport::Subprotocol).then_some("huleedu.v1");
            ensure!(protocol.map(|name| name.to_str()).transpose()? == expected, "{protocol:?}");
            stack.wait_for_subscriptions(&user, 1).await?;
            let event = events::designed()?[0].fresh(&user)?;
            stack.producer.send(&event).await?;
            expect_notifications(&mut client, &[event]).await?;
        }
    }
    Ok(())
}

async fn the_first_of_several_tokens_decides(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let token = stack.token(&user)?;
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let good_first = connection.clone().token(&token, Transport::Subprotocol);
    good_first.token("bad", Transport::Query).open().await?.expect_authenticated(TIMEOUT).await?;
    let bad_first = connection.token("bad", Transport::Header).token(&token, Transport::Query);
    expect_error_close(&mut bad_first.open().await?, 1008, "AUTHENTICATION_ERROR").await
}

async fn without_a_subprotocol_a_client_sees_notifications_alone(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.token(&stack.token(&user)?, Transport::Query).open().await?;
    stack.wait_for_subscriptions(&user, 1).await?;
    let foreign = json!({"event": "first", "data": {}});
    stack.publish(&user, &foreign.to_string()).await?;
    let first = client.next_frame(TIMEOUT).await?;
    ensure!(first == foreign, "the first frame is {first}");
    Ok(())
}

/// Claims that must be refused, by what is wrong with them.
fn bad_claims(user: &str) -> Vec<(&'static str, Value)> {
    let with = |name: &str, value: Value| {
        let mut claims = token::claims(user, 3600);
        claims[name] = value;
        claims
    };
    let in_an_hour = token::claims(user, 3600)["exp"].clone();
    let mut bad = vec![
        ("expired", token::claims(user, -5)),
        ("a refresh token", with("typ", "refresh".into())),
        ("not valid yet", with("nbf", in_an_hour)),
        ("no user", with("sub", Value::Null)),
        ("an empty user", with("sub", "".into())),
        ("a number as user", with("sub", 42.into())),
        ("an expiry that is a text", with("exp", "tomorrow".into())),
    ];
    for name in ["sub", "exp"] {
        let mut claims = token::claims(user, 3600);
        claims.as_object_mut().map(|claims| claims.remove(name));
        bad.push((if name == "sub" { "user missing" } else { "expiry missing" }, claims));
    }
    bad
}

async fn a_bad_token_is_refused_with_a_code_that_a_browser_can_read(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let connection = ConnectOptions::new(stack.gateways[0].address());
    let mut client = connection.open().await?;
    expect_error_close(&mut client, 1008, "AUTHENTICATION_ERROR").await?;
    for (what, claims) in bad_claims(&user) {
        let token = token::sign(&claims, &stack.secret)?;
        for transport in TRANSPORTS {
            let mut client = connection.clone().token(&token, transport).open().await?;
            let refused = expect_error_close(&mut client, 1008, "AUTHENTICATION_ERROR").await;
            refused.map_err(|problem| problem.context(format!("{what}, {transport:?}")))?;
        }
    }
    Ok(())
}

async fn a_token_with_a_bad_signature_is_refused(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let claims = token::claims(&user, 3600);
    let good = stack.token(&user)?;
    let (head, body) = (good.split('.').next(), good.split('.').nth(1).unwrap_or_default());
    // {"alg":"none","typ":"JWT"} and {"alg":"nOnE"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
    let spelled = format!("eyJhbGciOiJuT25FIn0.{body}.");
    let other_user = token::sign(&token::claims("somebody", 3600), &stack.secret)?;
    let swapped = other_user.split('.').nth(1).unwrap_or_default();
    let signature = good.rsplit('.').next().unwrap_or_default();
    for bad in [
        token::sign(&claims, &token::fresh_secret())?,
        token::sign_with(Algorithm::HS384, &claims, &stack.secret)?,
        none,
        spelled,
        format!("{}.{swapped}.{signature}", head.unwrap_or_default()),
        format!("{}.{body}.", head.unwrap_or_default()),
        "a.b.c".to_owned(),
        "x".repeat(4_000),
    ] {
        let connection =
            ConnectOptions::new(stack.gateways[0].address()).token(&bad, Transport::Query);
        expect_error_close(&mut connection.open().await?, 1008, "AUTHENTICATION_ERROR").await?;
    }
    Ok(())
}

async fn a_request_that_is_no_upgrade_gets_an_answer_in_http(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let gateway = stack.gateways[0].address();
    let token = format!("Bearer {}", stack.token(&fresh_user())?);
    let answer = http::request(gateway, "/ws", &[]).await?;
    ensure!([401, 426].contains(&answer.status().as_u16()), "{answer:?}");
    let answer = http::request(gateway, "/ws", &[("authorization", &token)]).await?;
    ensure!(answer.status() == 426, "{answer:?}");
    let refused = ConnectOptions::new(gateway).path("/elsewhere").refused_status().await?;
    ensure!(refused == 404, "another path: {refused}");
    Ok(())
}

async fn a_connection_ends_with_its_token_unless_it_gets_a_new_one(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let short = token::sign(&token::claims(&user, 3), &stack.secret)?;
    let connection =
        ConnectOptions::new(stack.gateways[0].address()).token(&short, Transport::Subprotocol);
    let mut ends = connection.open().await?;
    ends.expect_authenticated(TIMEOUT).await?;
    let mut stays = connection.open().await?;
    stays.expect_authenticated(TIMEOUT).await?;
    stays.send_json(&json!({"type": "auth", "token": stack.token(&user)?})).await?;
    expect_error_close(&mut ends, 1008, "AUTHENTICATION_ERROR").await?;
    expect_no_further_frames(stack, &user, &mut [stays]).await
}

async fn a_token_of_somebody_else_does_not_take_over_a_connection(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user, other) = (context.stack().await?, fresh_user(), fresh_user());
    let mut client = stack.client(&user).await?;
    client.send_json(&json!({"type": "auth", "token": stack.token(&other)?})).await?;
    // Refused, or ignored: in no way does the connection get what is the other's.
    let mut other_client = stack.client(&other).await?;
    let event = events::designed()?[0].fresh(&other)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut other_client, &[event]).await?;
    stack.publish(&user, r#"{"event":"marker"}"#).await?;
    match client.next_notification(TIMEOUT).await {
        Ok(frame) => ensure!(frame["event"] == "marker", "another user's frame: {frame}"),
        Err(closed) => ensure!(closed.to_string().contains("closed"), "{closed:#}"),
    }
    Ok(())
}

async fn only_pages_of_a_listed_origin_may_connect(context: &Context) -> anyhow::Result<()> {
    let origins = json!(["https://app.example", "http://127.0.0.1:5173"]).to_string();
    let gateway_settings = vec![("CORS_ORIGINS", origins)];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack: Stack = context.own_stack(&layout).await?;
    let connection = stack.connection(0, &fresh_user())?;
    connection.open().await?.expect_authenticated(TIMEOUT).await?;
    for listed in ["https://app.example", "http://127.0.0.1:5173"] {
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
        let status = connection.clone().header(header::ORIGIN, other).refused_status().await?;
        ensure!(status == 403, "{other}: {status}");
    }
    stack.shut_down_and_check_logs().await
}
