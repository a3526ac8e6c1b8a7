//! Redis Cluster while slots move to other masters.

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    eventually,
    redis::{Cluster, RedisTopology as _, stream_key},
    stack::{Layout, Stack, TIMEOUT},
};
use redis::cmd;

use super::cluster::stack_on_cluster;
use crate::{
    assertions::{expect_delivery, expect_error_close, expect_notifications},
    context::Context,
    runner::scenarios,
    under_load::UnderLoad,
};

scenarios![
    a_slot_migration_costs_no_event,
    slots_that_move_end_no_session,
    a_slot_migration_that_does_not_end_delays_only_the_users_of_the_slot,
    a_slot_that_no_master_owns_delays_only_its_users,
    revocations_are_kept_when_their_slot_moves,
];

async fn a_slot_migration_costs_no_event(context: &Context) -> anyhow::Result<()> {
    let stack = stack_on_cluster(context, &[0, 0, 0], &Layout::default()).await?;
    let mut load = UnderLoad::start(stack, "slot migration").await?;
    for user in load.clients.users.clone().iter().take(3) {
        let redis = &load.stack.redis;
        load.events.wait_for_sent(100).await?;
        let slot = redis.slot(&stream_key(user)).await?;
        let from = redis.node_of(slot).await?;
        let to = (from + 1) % 3;
        redis.begin_migration(slot, from, to).await?;
        // Some events are published while the slot is migrating.
        load.events.wait_for_sent(20).await?;
        redis.end_migration(slot, from, to).await?;
    }
    load.check_delivery().await?;
    expect_delivery(&load.stack).await?;
    load.shut_down().await
}

/// The slots of connected users move to other masters, and those of users who connect later.
async fn slots_that_move_end_no_session(context: &Context) -> anyhow::Result<()> {
    let stack = stack_on_cluster(context, &[0, 0, 0], &Layout::default()).await?;
    let (redis, case) = (&stack.redis, &events::designed()?[0]);
    let users: Vec<String> = (0..6).map(|_| fresh_user()).collect();
    let (connected, later) = users.split_at(3);
    let mut clients = Vec::new();
    for user in connected {
        clients.push(stack.client(user).await?);
    }
    for user in &users {
        let slot = redis.slot(&stream_key(user)).await?;
        let from = redis.node_of(slot).await?;
        redis.begin_migration(slot, from, (from + 1) % 3).await?;
        redis.end_migration(slot, from, (from + 1) % 3).await?;
    }
    for user in later {
        clients.push(stack.client(user).await?);
    }
    for (user, client) in users.iter().zip(&mut clients) {
        let event = case.fresh(user)?;
        stack.producer.send_all(std::slice::from_ref(&event)).await?;
        expect_notifications(client, &[event]).await?;
        eventually("the channel is subscribed at the new master", TIMEOUT, async || {
            let mut master = redis.connection_for(&stream_key(user)).await?;
            let mut count = cmd("PUBSUB");
            count.arg("NUMSUB").arg(format!("ws:{user}"));
            let (_, subscribers): (String, u64) = count.query_async(&mut master).await?;
            ensure!(subscribers > 0);
            Ok(())
        })
        .await?;
    }
    expect_no_session_lost(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn revocations_are_kept_when_their_slot_moves(context: &Context) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, ..Layout::default() };
    let mut stack = stack_on_cluster(context, &[0, 0, 0], &layout).await?;
    let users = [fresh_user(), fresh_user()];
    let connections = [stack.connection(0, &users[0])?, stack.connection(0, &users[1])?];
    let slot = stack.redis.slot("ws:revoked").await?;
    for (user, connection) in users.iter().zip(&connections) {
        let mut client = connection.open().await?;
        client.expect_authenticated(TIMEOUT).await?;
        stack.gateways[0].run_command(&["revoke", "--user", user, "--for", "1h"], "").await?;
        expect_error_close(&mut client, 1008, "AUTHENTICATION_ERROR").await?;
        // The second revocation is stored at the new master.
        let from = stack.redis.node_of(slot).await?;
        stack.redis.begin_migration(slot, from, (from + 1) % 3).await?;
        stack.redis.end_migration(slot, from, (from + 1) % 3).await?;
    }
    expect_no_session_lost(&stack).await?;
    // After a restart, the gateway knows only what Redis has.
    stack.gateways[0].kill().await?;
    stack.gateways[0].restart().await?;
    for connection in &connections {
        let mut refused = connection.open().await?;
        expect_error_close(&mut refused, 1008, "AUTHENTICATION_ERROR").await?;
    }
    stack.shut_down_and_check_logs().await
}

async fn expect_no_session_lost(stack: &Stack<Cluster>) -> anyhow::Result<()> {
    for gateway in &stack.gateways {
        let outages = gateway.metric("gateway_redis_outages_total").await?;
        ensure!(outages == 0.0, "expected no session to be lost, got {outages}");
    }
    Ok(())
}

async fn a_slot_migration_that_does_not_end_delays_only_the_users_of_the_slot(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_on_cluster(context, &[0, 0, 0], &Layout::default()).await?;
    let case = &events::designed()?[0];
    let (other, known, new) = (fresh_user(), fresh_user(), fresh_user());
    let mut others = [stack.client(&other).await?];
    let mut waiting = vec![stack.client(&known).await?, stack.client(&new).await?];
    // The slot of one user has keys, so that the script is refused with TRYAGAIN; that of the other
    // is empty, so that it is refused with ASK.
    let first = case.fresh(&known)?;
    stack.producer.send_all(std::slice::from_ref(&first)).await?;
    expect_notifications(&mut waiting[0], &[first]).await?;
    let mut migrations = Vec::new();
    for user in [&known, &new] {
        let slot = stack.redis.slot(&stream_key(user)).await?;
        let from = stack.redis.node_of(slot).await?;
        stack.redis.begin_migration(slot, from, (from + 1) % 3).await?;
        migrations.push((slot, from));
    }
    // The position of a user who connects meanwhile cannot be read.
    waiting.pop();
    wait_for_subscriptions(&stack, 2.0).await?;
    waiting.push(stack.client(&new).await?);
    let refused = [case.fresh(&known)?, case.fresh(&new)?];
    for _ in 0..5 {
        let event = case.fresh(&other)?;
        stack.producer.send_all(&refused).await?;
        stack.producer.send_all(std::slice::from_ref(&event)).await?;
        expect_notifications(&mut others[0], &[event]).await?;
    }
    expect_no_session_lost(&stack).await?;
    for (slot, from) in migrations {
        stack.redis.end_migration(slot, from, (from + 1) % 3).await?;
    }
    for (client, event) in waiting.iter_mut().zip(refused) {
        expect_notifications(client, &[event]).await?;
    }
    stack.shut_down_and_check_logs().await
}

async fn a_slot_that_no_master_owns_delays_only_its_users(context: &Context) -> anyhow::Result<()> {
    let stack = stack_on_cluster(context, &[0, 0, 0], &Layout::default()).await?;
    let (redis, case) = (&stack.redis, &events::designed()?[0]);
    let (other, mut waiting) = (fresh_user(), fresh_user());
    let mut slot = redis.slot(&stream_key(&waiting)).await?;
    // Not at the first master, to which commands for slots without an owner go.
    while redis.node_of(slot).await? == 0 {
        waiting = fresh_user();
        slot = redis.slot(&stream_key(&waiting)).await?;
    }
    let owner = redis.node_of(slot).await?;
    let mut others = vec![stack.client(&other).await?];
    let mut clients = vec![stack.client(&waiting).await?];
    redis.unassign(slot).await?;
    eventually("the gateway has read the slot map without the slot", TIMEOUT, async || {
        let errors = "gateway_redis_user_errors_total{kind=\"slot_moving\"}";
        ensure!(stack.gateways[0].metric(errors).await? > 0.0);
        Ok(())
    })
    .await?;
    // Newcomers are confirmed as well; those of the slot have no position.
    others.push(stack.client(&other).await?);
    clients.push(stack.client(&waiting).await?);
    let refused = case.fresh(&waiting)?;
    for _ in 0..5 {
        let event = case.fresh(&other)?;
        stack.producer.send_all(&[refused.clone(), event.clone()]).await?;
        for client in &mut others {
            expect_notifications(client, std::slice::from_ref(&event)).await?;
        }
    }
    expect_no_session_lost(&stack).await?;
    redis.assign(slot, owner).await?;
    for client in &mut clients {
        expect_notifications(client, std::slice::from_ref(&refused)).await?;
    }
    stack.shut_down_and_check_logs().await
}

/// Waits until the gateways are subscribed to at most this number of channels.
async fn wait_for_subscriptions(stack: &Stack<Cluster>, max: f64) -> anyhow::Result<()> {
    eventually("the subscriptions are up to date", TIMEOUT, async || {
        let mut subscriptions = 0.0;
        for gateway in &stack.gateways {
            subscriptions += gateway.metric("gateway_redis_subscriptions").await?;
        }
        ensure!(subscriptions <= max, "{subscriptions} users are subscribed");
        Ok(())
    })
    .await
}
