//! Tokens that are withdrawn before their time: live connections close, and new ones are refused,
//! at every gateway.

use anyhow::{Context as _, ensure};
use harness::{
    client::{ConnectOptions, Transport},
    events::fresh_user,
    eventually,
    proxy::Fault,
    stack::{Layout, Stack, TIMEOUT},
    token,
};
use serde_json::{Value, json};

use crate::{
    assertions::{expect_error_close, expect_no_further_frames},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_revoked_user_is_closed_everywhere_and_comes_back_with_a_newer_token,
    a_revoked_token_closes_its_own_connection_only,
    what_is_revoked_while_redis_is_away_closes_before_anything_is_sent,
];

/// A connection to a gateway with these claims.
fn connect(stack: &Stack, gateway: usize, claims: &Value) -> anyhow::Result<ConnectOptions> {
    let token = token::sign(claims, &stack.secret)?;
    let connection = ConnectOptions::new(stack.gateways[gateway].address());
    Ok(connection.token(&token, Transport::Subprotocol))
}

fn claims_with_id(user: &str, id: &str) -> Value {
    let mut claims = token::claims(user, 3600);
    claims["jti"] = id.into();
    claims
}

/// What the README says an operator without the tool does.
async fn revoke_by_hand(stack: &Stack, revocation: &Value) -> anyhow::Result<()> {
    let mut connection = stack.redis.connection().await?;
    let (text, until) = (revocation.to_string(), revocation["until"].to_string());
    let () = redis::cmd("ZADD")
        .arg("ws:revoked")
        .arg(until)
        .arg(&text)
        .query_async(&mut connection)
        .await?;
    let () =
        redis::cmd("PUBLISH").arg("ws/revoked").arg(&text).query_async(&mut connection).await?;
    Ok(())
}

fn in_an_hour() -> i64 {
    jiff::Timestamp::now().as_second() + 3600
}

async fn a_revoked_user_is_closed_everywhere_and_comes_back_with_a_newer_token(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, gateways: 2, ..Layout::default() };
    let (mut stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let old = [connect(&stack, 0, &token::claims(&user, 3600))?, stack.connection(1, &user)?];
    let mut clients = Vec::new();
    for connection in &old {
        let mut client = connection.open().await?;
        client.expect_authenticated(TIMEOUT).await?;
        clients.push(client);
    }
    let mut other = [stack.client(&fresh_user()).await?];

    let answer =
        stack.gateways[0].run_command(&["revoke", "--user", &user, "--for", "1h"], "").await?;
    ensure!(answer.stdout.contains(&user), "it says what it did: {answer:?}");
    for client in &mut clients {
        expect_error_close(client, 1008, "AUTHENTICATION_ERROR").await?;
    }
    for connection in &old {
        expect_error_close(&mut connection.open().await?, 1008, "AUTHENTICATION_ERROR").await?;
    }
    // One that starts later knows it as well.
    stack.gateways[1].kill().await?;
    stack.gateways[1].restart().await?;
    expect_error_close(&mut old[1].open().await?, 1008, "AUTHENTICATION_ERROR").await?;

    eventually("a newer token is accepted", TIMEOUT, async || {
        let newer = connect(&stack, 1, &token::claims(&user, 3600))?;
        newer.open().await?.expect_authenticated(TIMEOUT).await
    })
    .await?;
    other[0].send_json(&json!({"type": "ping"})).await?;
    ensure!(other[0].next_frame(TIMEOUT).await?["type"] == "pong", "another user is left alone");
    drop(clients);
    // A socket counts as closed once its client has hung up.
    eventually("what was revoked is counted", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        for series in ["gateway_revocations 1", "websocket_closes_total{reason=\"revoked\"} 1"] {
            ensure!(page.contains(series), "no {series}");
        }
        Ok(())
    })
    .await?;
    stack.shut_down_and_check_logs().await
}

async fn a_revoked_token_closes_its_own_connection_only(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let (bad, good) = (format!("bad-{user}"), format!("good-{user}"));
    let stolen = connect(stack, 0, &claims_with_id(&user, &bad))?;
    let mut closes = stolen.open().await?;
    closes.expect_authenticated(TIMEOUT).await?;
    let mut stays = connect(stack, 1, &claims_with_id(&user, &good))?.open().await?;
    stays.expect_authenticated(TIMEOUT).await?;
    // A text that is none revokes nothing.
    revoke_by_hand(stack, &json!({"until": in_an_hour()})).await?;
    revoke_by_hand(stack, &json!({"jti": bad, "until": in_an_hour()})).await?;
    expect_error_close(&mut closes, 1008, "AUTHENTICATION_ERROR").await?;
    expect_error_close(&mut stolen.open().await?, 1008, "AUTHENTICATION_ERROR").await?;
    // Nor may it take over a connection that is open.
    let token = token::sign(&claims_with_id(&user, &bad), &stack.secret)?;
    stays.send_json(&json!({"type": "auth", "token": token})).await?;
    let answer = stays.next_frame(TIMEOUT).await?;
    ensure!(answer["data"]["state"] == "error", "{answer}");
    expect_no_further_frames(stack, &user, &mut [stays]).await
}

async fn what_is_revoked_while_redis_is_away_closes_before_anything_is_sent(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, proxied: true, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let id = format!("jti-{user}");
    let connection = connect(&stack, 0, &claims_with_id(&user, &id))?;
    let mut before = connection.open().await?;
    before.expect_authenticated(TIMEOUT).await?;
    let way = &stack.redis_proxies.as_ref().context("there are proxies")?.gateway;
    way.set_fault(Fault::Reset);
    eventually("the gateway has noticed", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        ensure!(page.contains("gateway_redis_connected 0"), "not yet");
        Ok(())
    })
    .await?;
    revoke_by_hand(&stack, &json!({"jti": id, "until": in_an_hour()})).await?;
    // It is let in by what is known, and gets nothing.
    let mut meanwhile = connection.open().await?;
    way.set_fault(Fault::None);
    for client in [&mut before, &mut meanwhile] {
        expect_error_close(client, 1008, "AUTHENTICATION_ERROR").await?;
    }
    stack.shut_down_and_check_logs().await
}
