//! Redis Cluster: three masters that share the slots.

use std::time::Duration;

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    eventually,
    process::Signal,
    producer::header,
    proxy::Fault,
    redis::{Cluster, Redis, RedisTopology as _, stream_key},
    stack::{Layout, Stack, TIMEOUT},
    workspace,
};
use redis::cmd;

use crate::{
    assertions::{
        expect_delivery, expect_no_further_frames, expect_notifications, wait_for_dead_letters,
    },
    context::Context,
    faults::restoring::{
        case::{User, send},
        receiver::Receiver,
    },
    runner::scenarios,
    under_load::{RECOVERY_TIMEOUT, UnderLoad},
};

scenarios![
    a_killed_cluster_master_costs_no_event,
    what_a_stale_replica_lacks_is_restored_also_after_a_slot_has_moved,
    broken_links_between_nodes_cost_no_event,
    a_user_whose_keys_hash_to_different_slots_delays_no_other_user,
    a_subscription_at_one_master_that_publishers_have_left_is_detected_within_10_s,
];

/// A stack on a cluster with a master for each number, which is how many replicas it has.
pub(super) async fn stack_on_cluster(
    context: &Context,
    replicas: &[usize],
    layout: &Layout,
) -> anyhow::Result<Stack<Cluster>> {
    let folder = workspace::temporary("cluster-")?;
    let redis = Cluster::start(folder.path(), replicas).await?;
    context.stack_with_redis(layout, folder, redis).await
}

async fn a_killed_cluster_master_costs_no_event(context: &Context) -> anyhow::Result<()> {
    let worker_settings = vec![("REDIS_WAIT_REPLICAS", "1".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    // After the failover, one replica is left to acknowledge writes.
    let stack = stack_on_cluster(context, &[2, 1, 1], &layout).await?;
    let mut load = UnderLoad::start(stack, "killed cluster master").await?;
    load.events.wait_for_sent(100).await?;
    load.stack.redis.node(0).kill().await?;
    load.events.wait_for_sent(500).await?;
    load.check_delivery_with_duplicates().await?;
    expect_delivery(&load.stack).await?;
    load.shut_down().await
}

/// The replica of one master misses events while it is frozen, and takes over. Meanwhile one user's
/// slot moves to another master.
async fn what_a_stale_replica_lacks_is_restored_also_after_a_slot_has_moved(
    context: &Context,
) -> anyhow::Result<()> {
    const KEPT: usize = 5;
    const LOST: usize = 20;
    let worker_settings = vec![("REWIND_LIMIT", "1m".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let stack = stack_on_cluster(context, &[1, 0, 0], &layout).await?;
    let redis = &stack.redis;
    let mut users: Vec<User> = (0..30).map(|_| User::fresh()).collect();
    send(&stack, &mut users, KEPT).await?;
    let mut of_first = Vec::new();
    for user in &users {
        let slot = redis.slot(&stream_key(&user.id)).await?;
        if redis.node_of(slot).await? == 0 {
            of_first.push((user.id.clone(), slot));
        }
    }
    ensure!(of_first.len() > 1, "too few users have keys on the first master");
    let (user, moved) = &of_first[0];
    freeze_replica(redis, 3, &stream_key(user)).await?;
    send(&stack, &mut users, LOST).await?;
    redis.begin_migration(*moved, 0, 1).await?;
    redis.end_migration(*moved, 0, 1).await?;
    redis.node(0).kill().await?;
    redis.node(3).signal(Signal::CONT)?;
    eventually("the replica takes over", RECOVERY_TIMEOUT, async || {
        ensure!(redis.node_of(of_first[1].1).await? == 3);
        Ok(())
    })
    .await?;
    let (mut lost, mut restored, mut missing, mut twice) = (0, 0, 0, 0);
    for user in &users {
        let counts = user.restored(&stack).await?;
        (lost, restored) = (lost + counts.0, restored + counts.1);
        let received = Receiver::resume(&stack, user, KEPT).await?.drain(&stack).await?;
        ensure!(received.is_complete, "{}: the resume is incomplete", user.id);
        (missing, twice) = (missing + received.missing, twice + received.twice);
    }
    eprintln!(
        "stale replica of a cluster master: sent {}, lost by Redis {lost}, restored \
         {restored}, missing {missing}, twice {twice}",
        users.len() * (KEPT + LOST)
    );
    let expected = (of_first.len() - 1) * LOST;
    ensure!((lost, restored) == (expected, expected), "expected {expected} lost and restored");
    ensure!((missing, twice) == (0, 0), "{missing} missing, {twice} twice");
    stack.shut_down_and_check_logs().await
}

/// Freezes a replica of the master that holds a key, once it has all writes so far.
async fn freeze_replica(redis: &Cluster, replica: usize, key: &str) -> anyhow::Result<()> {
    let mut master = redis.connection_for(key).await?;
    cmd("WAIT").arg(1).arg(5_000).exec_async(&mut master).await?;
    redis.node(replica).signal(Signal::STOP)?;
    // Otherwise it would read from its socket what it has missed.
    cmd("CLIENT").arg("KILL").arg("TYPE").arg("replica").exec_async(&mut master).await?;
    Ok(())
}

async fn broken_links_between_nodes_cost_no_event(context: &Context) -> anyhow::Result<()> {
    let stack = stack_on_cluster(context, &[0, 0, 0], &Layout::default()).await?;
    let mut load = UnderLoad::start(stack, "broken cluster bus").await?;
    for _ in 0..3 {
        load.events.wait_for_sent(200).await?;
        // Messages of the cluster bus are lost, but no node counts as failed within 100 ms.
        load.stack.redis.set_bus_fault(Fault::Reset);
        load.events.wait_for_sent(10).await?;
        load.stack.redis.set_bus_fault(Fault::None);
    }
    load.finish().await
}

async fn a_user_whose_keys_hash_to_different_slots_delays_no_other_user(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_on_cluster(context, &[0, 0, 0], &Layout::default()).await?;
    // A closing brace at the start makes the hash tag `{}` empty, so the whole key is hashed.
    let (user, unusable) = (fresh_user(), format!("}}{}", fresh_user()));
    let mut clients = [stack.client(&user).await?, stack.client(&unusable).await?];
    let case = &events::designed()?[0];
    let (first, refused, last) = (case.fresh(&user)?, case.fresh(&unusable)?, case.fresh(&user)?);
    stack.producer.send_all(&[first.clone(), refused.clone(), last.clone()]).await?;
    expect_notifications(&mut clients[0], &[first, last]).await?;
    let letters = wait_for_dead_letters(&stack, &[&refused.key]).await?;
    let reason = header(&letters[&refused.key], "dlq.reason");
    ensure!(reason == Some("malformed"), "expected reason malformed, got {reason:?}");
    expect_no_further_frames(&stack, &unusable, &mut clients[1..]).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_subscription_at_one_master_that_publishers_have_left_is_detected_within_10_s(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, ..Layout::default() };
    let stack = stack_on_cluster(context, &[0, 0, 0], &layout).await?;
    let (gateway, redis) = (&stack.gateways[0], &stack.redis);
    let folder = workspace::temporary("redis-")?;
    let elsewhere = Redis::start(folder.path()).await?;
    for master in 0..3 {
        let outages = gateway.metric("gateway_redis_outages_total").await?;
        redis.redirect(master, Some(elsewhere.address()));
        eventually("the session has ended", Duration::from_secs(10), async || {
            let now = gateway.metric("gateway_redis_outages_total").await?;
            ensure!(now > outages, "the session goes on at master {master}");
            Ok(())
        })
        .await?;
        redis.redirect(master, None);
        eventually("the session is back", TIMEOUT, async || {
            ensure!(gateway.metric("gateway_redis_connected").await? > 0.0);
            Ok(())
        })
        .await?;
    }
    let lost = gateway.metric("gateway_redis_probes_total{result=\"lost\"}").await?;
    ensure!(lost >= 6.0, "expected two lost probes for each master, got {lost}");
    stack.client(&fresh_user()).await?;
    stack.shut_down_and_check_logs().await
}
