//! One server behind an address, which becomes a replica: an operator or a managed service has made
//! another server the master. What it still has may be old, so that no resume is complete.

use std::{path::Path, slice::from_ref, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{
    client::Client,
    events::{self, fresh_user},
    eventually, free_port,
    redis::Redis,
    stack::{Layout, Stack, TIMEOUT},
    workspace,
};
use redis::{aio::MultiplexedConnection, cmd};

use crate::{
    assertions::{expect_notifications, wait_for_published},
    context::Context,
    runner::scenarios,
};

scenarios![
    a_former_master_is_left_for_the_new_one_and_no_resume_is_complete_without_what_it_lacks,
    what_a_former_master_is_not_sent_until_it_is_in_sync_is_repaired,
    a_replica_serves_its_users_and_completes_no_resume_until_it_is_a_master_again,
];

/// The gateway leaves a former master after two lost probes.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

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

/// Resumes, and returns the client.
async fn resume(
    stack: &Stack,
    user: &str,
    position: &str,
    expected: &str,
) -> anyhow::Result<Client> {
    let options = stack.connection(0, user)?.query("last_event_id", position);
    let mut client = options.open().await?;
    let state = client.expect_authenticated(TIMEOUT).await?;
    ensure!(state["resume"] == expected, "expected resume {expected}, got {state}");
    Ok(client)
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
    let mut resumed = resume(&stack, &user, &position, "incomplete").await?;
    proxies.gateway.set_server(new.address());
    let gateway = &stack.gateways[0];
    eventually("the gateway leaves the former master", NOTICED_WITHIN, async || {
        let outages = gateway.metric("gateway_redis_outages_total").await?;
        ensure!(outages > 0.0, "expected gateway_redis_outages_total above 0");
        Ok(())
    })
    .await?;
    for client in [&mut client, &mut resumed] {
        expect_notifications(client, from_ref(&second)).await?;
    }
    let mut resumed = resume(&stack, &user, &position, "complete").await?;
    expect_notifications(&mut resumed, from_ref(&second)).await?;
    stack.shut_down_and_check_logs().await
}

async fn what_a_former_master_is_not_sent_until_it_is_in_sync_is_repaired(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { proxied: true, ..Layout::default() }).await?;
    let (user, folder) = (fresh_user(), workspace::temporary("redis-")?);
    let mut client = stack.client(&user).await?;
    let new = start_replica(&stack, folder.path()).await?;
    let (mut new_master, mut former) = (new.connection().await?, stack.redis.connection().await?);
    run(&mut new_master, &["REPLICAOF", "NO", "ONE"]).await?;
    run(&mut new_master, &["CONFIG", "SET", "repl-diskless-sync-delay", "2"]).await?;
    // What only it has makes the former master copy all data.
    run(&mut former, &["SET", "only-here", "1"]).await?;
    let proxies = stack.redis_proxies.as_ref().context("the stack has proxies")?;
    for proxy in [&proxies.worker, &proxies.gateway] {
        proxy.set_server(new.address());
    }
    run(&mut former, &["REPLICAOF", "127.0.0.1", &new.address().port().to_string()]).await?;
    let case = &events::designed()?[0];
    let sent: Vec<_> = (0..20).map(|_| case.fresh(&user)).collect::<anyhow::Result<_>>()?;
    stack.producer.send_all(&sent).await?;
    wait_for_stream(&new, &user, sent.len()).await?;
    expect_notifications(&mut client, &sent).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_replica_serves_its_users_and_completes_no_resume_until_it_is_a_master_again(
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
    let mut resumed = resume(&stack, &user, &position, "incomplete").await?;
    let connected = stack.gateways[0].metric("gateway_redis_connected").await?;
    ensure!(connected > 0.0, "expected gateway_redis_connected 1, got {connected}");
    run(&mut redis, &["REPLICAOF", "NO", "ONE"]).await?;
    for client in [&mut client, &mut resumed] {
        expect_notifications(client, from_ref(&second)).await?;
    }
    let mut resumed = resume(&stack, &user, &position, "complete").await?;
    expect_notifications(&mut resumed, from_ref(&second)).await?;
    stack.shut_down_and_check_logs().await
}
