//! One server behind an address, which becomes a replica: an operator or a managed service has made
//! another server the master. What it still has may be old.

use std::{path::Path, slice::from_ref, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{
    client::Client,
    events::{self, fresh_user},
    eventually, free_port, http,
    redis::Redis,
    stack::{Layout, Stack, TIMEOUT},
    workspace,
};
use redis::{aio::MultiplexedConnection, cmd};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    assertions::{expect_notifications, wait_for_published},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_former_master_is_left_for_the_new_one_and_no_resume_is_complete_without_what_it_lacks,
    a_replica_that_becomes_a_master_again_serves_all_that_was_sent_meanwhile,
];

/// The gateway checks the role every second.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

async fn run(redis: &mut MultiplexedConnection, words: &[&str]) -> anyhow::Result<()> {
    cmd(words[0]).arg(&words[1..]).exec_async(redis).await.with_context(|| words.join(" "))
}

/// Makes the server a replica of a master that it cannot reach.
async fn demote(redis: &mut MultiplexedConnection) -> anyhow::Result<()> {
    run(redis, &["REPLICAOF", "127.0.0.1", &free_port()?.to_string()]).await
}

/// Starts a replica of the stack's server that has all of its data.
async fn start_replica(stack: &Stack, folder: &Path) -> anyhow::Result<Redis> {
    let replica = Redis::start(folder).await?;
    let (mut redis, master) = (replica.connection().await?, stack.redis.address());
    run(&mut redis, &["REPLICAOF", "127.0.0.1", &master.port().to_string()]).await?;
    eventually("the replica has the data of its master", TIMEOUT, async || {
        let info: String = cmd("INFO").arg("replication").query_async(&mut redis.clone()).await?;
        ensure!(info.contains("master_link_status:up"), "not in {info}");
        Ok(())
    })
    .await?;
    Ok(replica)
}

async fn wait_for_stream(redis: &Redis, user: &str, length: usize) -> anyhow::Result<()> {
    eventually("the event is published", TIMEOUT, async || {
        let found = redis.stream(user).await?.len();
        ensure!(found == length, "expected {length} entries, got {found}");
        Ok(())
    })
    .await
}

/// Resumes; returns the client once it is sent the result.
fn resume(
    stack: &Stack,
    user: &str,
    position: &str,
) -> anyhow::Result<JoinHandle<anyhow::Result<(Client, Value)>>> {
    let options = stack.connection(0, user)?.query("last_event_id", position);
    Ok(tokio::spawn(async move {
        let mut client = options.open().await?;
        let state = client.expect_authenticated(TIMEOUT).await?;
        Ok((client, state))
    }))
}

/// Waits until the gateway has no session with Redis, and says so.
async fn wait_until_noticed(stack: &Stack) -> anyhow::Result<()> {
    let gateway = &stack.gateways[0];
    eventually("the gateway leaves the replica", NOTICED_WITHIN, async || {
        let connected = gateway.metric("gateway_redis_connected").await?;
        ensure!(connected < 1.0, "expected gateway_redis_connected 0, got {connected}");
        let (_, conditions) = http::get(gateway.admin(), "/readyz").await?;
        ensure!(conditions.contains("\"redis_session\":false"), "a session in {conditions}");
        Ok(())
    })
    .await
}

async fn a_former_master_is_left_for_the_new_one_and_no_resume_is_complete_without_what_it_lacks(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { proxied: true, ..Layout::default() }).await?;
    let user = fresh_user();
    let (mut client, case) = (stack.client(&user).await?, &events::designed()?[0]);
    let [first, second] = [case.fresh(&user)?, case.fresh(&user)?];
    stack.producer.send_all(from_ref(&first)).await?;
    expect_notifications(&mut client, from_ref(&first)).await?;
    let position = stack.redis.stream(&user).await?.pop().context("the stream has an entry")?.0;
    let folder = workspace::temporary("redis-")?;
    let new = start_replica(&stack, folder.path()).await?;
    let proxies = stack.redis_proxies.as_ref().context("the stack has proxies")?;
    run(&mut new.connection().await?, &["REPLICAOF", "NO", "ONE"]).await?;
    proxies.worker.set_server(new.address());
    demote(&mut stack.redis.connection().await?).await?;
    stack.producer.send_all(from_ref(&second)).await?;
    wait_for_stream(&new, &user, 2).await?;
    // The former master still has the client's position as its newest.
    let resumed = resume(&stack, &user, &position)?;
    wait_until_noticed(&stack).await?;
    ensure!(!resumed.is_finished(), "answered from the former master: {:?}", resumed.await??.1);
    proxies.gateway.set_server(new.address());
    expect_notifications(&mut client, from_ref(&second)).await?;
    let (mut resumed, state) = resumed.await??;
    ensure!(state["resume"] == "complete", "expected a complete resume, got {state}");
    expect_notifications(&mut resumed, from_ref(&second)).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_replica_that_becomes_a_master_again_serves_all_that_was_sent_meanwhile(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let (mut client, case) = (stack.client(&user).await?, &events::designed()?[0]);
    let [first, second] = [case.fresh(&user)?, case.fresh(&user)?];
    stack.producer.send_all(from_ref(&first)).await?;
    expect_notifications(&mut client, from_ref(&first)).await?;
    wait_for_published(&stack, &user, 1).await?;
    let position = stack.redis.stream(&user).await?.pop().context("the stream has an entry")?.0;
    let mut redis = stack.redis.connection().await?;
    demote(&mut redis).await?;
    stack.producer.send_all(from_ref(&second)).await?;
    wait_until_noticed(&stack).await?;
    let resumed = resume(&stack, &user, &position)?;
    let failures = "gateway_redis_connect_failures_total";
    let before = stack.gateways[0].metric(failures).await?;
    eventually("the gateway has tried the replica again", TIMEOUT, async || {
        let failures = stack.gateways[0].metric(failures).await?;
        ensure!(failures >= before + 3.0, "expected 3 more than {before}, got {failures}");
        Ok(())
    })
    .await?;
    ensure!(!resumed.is_finished(), "answered by a replica: {:?}", resumed.await??.1);
    run(&mut redis, &["REPLICAOF", "NO", "ONE"]).await?;
    expect_notifications(&mut client, from_ref(&second)).await?;
    let (mut resumed, state) = resumed.await??;
    ensure!(state["resume"] == "complete", "expected a complete resume, got {state}");
    expect_notifications(&mut resumed, from_ref(&second)).await?;
    stack.shut_down_and_check_logs().await
}
