//! Revoked tokens: their connections are closed and new ones are rejected, at every gateway.

use anyhow::{Context as _, ensure};
use harness::{
    client::{ConnectOptions, Transport},
    events::fresh_user,
    eventually,
    proxy::Fault,
    stack::{Layout, Stack, TIMEOUT},
    token,
};
use jiff::Timestamp;
use redis::cmd;
use serde_json::{Value, json};

use crate::{
    assertions::{expect_error_close, expect_no_further_frames},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_revoked_user_is_closed_at_every_gateway_and_reconnects_with_a_newer_token,
    a_revocation_of_a_user_covers_tokens_without_a_time_and_of_a_clock_that_is_ahead,
    several_revocations_of_a_user_last_each_for_its_own_time,
    a_revoked_token_closes_its_own_connection_only,
    a_revocation_during_a_redis_outage_applies_before_any_frame_is_sent,
];

/// A connection to a gateway with these claims.
fn connection(stack: &Stack, gateway: usize, claims: &Value) -> anyhow::Result<ConnectOptions> {
    let token = token::sign(claims, &stack.secret)?;
    let connection = ConnectOptions::new(stack.gateways[gateway].address());
    Ok(connection.token(&token, Transport::Subprotocol))
}

/// Claims with the token id (`jti`) by which one token can be revoked.
fn claims_with_id(user: &str, id: &str) -> Value {
    let mut claims = token::claims(user, 3600);
    claims["jti"] = id.into();
    claims
}

/// Writes and publishes a revocation for an hour as the README describes it for operators who do
/// not have the command.
async fn revoke_in_redis(stack: &Stack, revocation: Value) -> anyhow::Result<()> {
    revoke_in_redis_for(stack, revocation, 3600).await
}

/// The same for a number of seconds.
async fn revoke_in_redis_for(
    stack: &Stack,
    mut revocation: Value,
    seconds: i64,
) -> anyhow::Result<()> {
    let until = Timestamp::now().as_second() + seconds;
    revocation["until"] = until.into();
    let (mut redis, text) = (stack.redis.connection().await?, revocation.to_string());
    cmd("ZADD").arg("ws:revoked").arg(until).arg(&text).exec_async(&mut redis).await?;
    Ok(cmd("PUBLISH").arg("ws/revoked").arg(&text).exec_async(&mut redis).await?)
}

async fn expect_rejected(connection: &ConnectOptions) -> anyhow::Result<()> {
    expect_error_close(&mut connection.open().await?, 1008, "AUTHENTICATION_ERROR").await
}

async fn a_revoked_user_is_closed_at_every_gateway_and_reconnects_with_a_newer_token(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, gateways: 2, ..Layout::default() };
    let (mut stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let old = [stack.connection(0, &user)?, stack.connection(1, &user)?];
    let mut clients = Vec::new();
    for connection in &old {
        let mut client = connection.open().await?;
        client.expect_authenticated(TIMEOUT).await?;
        clients.push(client);
    }
    let mut other = stack.client(&fresh_user()).await?;

    let revoke = ["revoke", "--user", &user, "--for", "1h"];
    let output = stack.gateways[0].run_command(&revoke, "").await?.stdout;
    ensure!(output.contains(&user), "expected that the user is named, got {output}");
    for client in &mut clients {
        expect_error_close(client, 1008, "AUTHENTICATION_ERROR").await?;
    }
    for connection in &old {
        expect_rejected(connection).await?;
    }
    // A gateway reads the revocations again when it starts.
    stack.gateways[1].kill().await?;
    stack.gateways[1].restart().await?;
    expect_rejected(&old[1]).await?;

    let reconnected = async || stack.client_at(1, &user).await;
    eventually("a newer token is accepted", TIMEOUT, reconnected).await?;
    other.send_json(&json!({"type": "ping"})).await?;
    let answer = other.next_frame(TIMEOUT).await?;
    ensure!(answer["type"] == "pong", "expected a pong for another user, got {answer}");
    // A connection counts as closed once its client has disconnected.
    drop(clients);
    eventually("the revocation and the closed connection are counted", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        for series in ["gateway_revocations 1", "websocket_closes_total{reason=\"revoked\"} 1"] {
            ensure!(page.contains(series), "expected {series:?} in the metrics");
        }
        Ok(())
    })
    .await?;
    stack.shut_down_and_check_logs().await
}

async fn a_revocation_of_a_user_covers_tokens_without_a_time_and_of_a_clock_that_is_ahead(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let [mut undated, mut ahead] = [(); 2].map(|()| token::claims(&user, 3600));
    undated.as_object_mut().map(|claims| claims.remove("iat"));
    // Within `JWT_LEEWAY` (5 s).
    ahead["iat"] = (Timestamp::now().as_second() + 3).into();
    let connections = [connection(stack, 0, &undated)?, connection(stack, 0, &ahead)?];
    let mut clients = Vec::new();
    for connection in &connections {
        let mut client = connection.open().await?;
        client.expect_authenticated(TIMEOUT).await?;
        clients.push(client);
    }
    stack.gateways[0].run_command(&["revoke", "--user", &user, "--for", "1h"], "").await?;
    for client in &mut clients {
        expect_error_close(client, 1008, "AUTHENTICATION_ERROR").await?;
    }
    for connection in &connections {
        expect_rejected(connection).await?;
    }
    Ok(())
}

async fn several_revocations_of_a_user_last_each_for_its_own_time(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut old = token::claims(&user, 3600);
    let before = Timestamp::now().as_second() - 100;
    old["iat"] = before.into();
    let (old, new) = (connection(stack, 0, &old)?, stack.connection(0, &user)?);
    // All tokens for a few seconds, and the old ones for ten minutes.
    revoke_in_redis_for(stack, json!({"user": user}), 8).await?;
    revoke_in_redis_for(stack, json!({"user": user, "at": before}), 600).await?;
    let rejected = async || expect_rejected(&new).await;
    eventually("all tokens are rejected", TIMEOUT, rejected).await?;
    let connected = async || new.open().await?.expect_authenticated(TIMEOUT).await;
    eventually("a newer token is accepted", TIMEOUT, connected).await?;
    expect_rejected(&old).await
}

async fn a_revoked_token_closes_its_own_connection_only(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let (bad, good) = (format!("bad-{user}"), format!("good-{user}"));
    let stolen = connection(stack, 0, &claims_with_id(&user, &bad))?;
    let mut closes = stolen.open().await?;
    closes.expect_authenticated(TIMEOUT).await?;
    let mut stays = connection(stack, 1, &claims_with_id(&user, &good))?.open().await?;
    stays.expect_authenticated(TIMEOUT).await?;
    // An entry without user and token id revokes nothing.
    revoke_in_redis(stack, json!({})).await?;
    revoke_in_redis(stack, json!({"jti": bad})).await?;
    expect_error_close(&mut closes, 1008, "AUTHENTICATION_ERROR").await?;
    expect_rejected(&stolen).await?;
    // An open connection does not accept it as a renewal.
    let token = token::sign(&claims_with_id(&user, &bad), &stack.secret)?;
    stays.send_json(&json!({"type": "auth", "token": token})).await?;
    let answer = stays.next_frame(TIMEOUT).await?;
    ensure!(answer["data"]["state"] == "error", "expected state error, got {answer}");
    expect_no_further_frames(stack, &user, &mut [stays]).await
}

async fn a_revocation_during_a_redis_outage_applies_before_any_frame_is_sent(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, proxied: true, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let id = format!("jti-{user}");
    let connection = connection(&stack, 0, &claims_with_id(&user, &id))?;
    let mut before = connection.open().await?;
    before.expect_authenticated(TIMEOUT).await?;
    let proxy = &stack.redis_proxies.as_ref().context("the layout has proxies")?.gateway;
    proxy.set_fault(Fault::Reset);
    eventually("the gateway reports the outage", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        ensure!(page.contains("gateway_redis_connected 0"), "it is still connected");
        Ok(())
    })
    .await?;
    revoke_in_redis(&stack, json!({"jti": id})).await?;
    // Accepted, as the gateway cannot know yet, but not subscribed.
    let mut during = connection.open().await?;
    proxy.set_fault(Fault::None);
    for client in [&mut before, &mut during] {
        expect_error_close(client, 1008, "AUTHENTICATION_ERROR").await?;
    }
    stack.shut_down_and_check_logs().await
}
