//! A master that sentinels choose.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    eventually,
    process::Signal,
    redis::{RedisTopology as _, Sentinel},
    service,
    stack::{Layout, TIMEOUT},
    token, workspace,
};

use super::flow::Flow;
use crate::{
    assertions::{expect_delivery, expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    every_event_arrives_with_sentinels,
    a_master_killed_while_events_flow_costs_none,
    what_a_stale_replica_lacks_is_told_as_incomplete,
    a_master_that_becomes_a_replica_is_left,
    a_master_unknown_to_its_sentinels_is_named_in_the_log,
];

async fn every_event_arrives_with_sentinels(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("sentinel-")?;
    let redis = Sentinel::start(folder.path(), 1).await?;
    let stack = context.stack_around(&Layout::default(), folder, redis).await?;
    expect_delivery(&stack).await?;
    // Two of three sentinels are enough to find the master.
    stack.redis.sentinel(0).kill().await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_master_killed_while_events_flow_costs_none(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("sentinel-")?;
    // After the first is gone, one replica must be left to acknowledge.
    let redis = Sentinel::start(folder.path(), 2).await?;
    let worker_settings = vec![("REDIS_WAIT_REPLICAS", "1".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let stack = context.stack_around(&layout, folder, redis).await?;
    let mut flow = Flow::begin(&stack, 600).await?;
    flow.reaches(100).await?;
    stack.redis.server(0).kill().await?;
    let violations = flow.end().await?;
    ensure!(stack.redis.master().await? != 0, "another master was chosen");
    ensure!(violations.missing.is_empty() && violations.misdirected.is_empty(), "{violations:?}");
    ensure!(violations.out_of_order == 0, "{violations:?}");
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

/// A replica is frozen, misses events, and is all that is left: without acknowledgement they are
/// lost. Who had received them is told so, in place and when resuming, and what follows arrives.
async fn what_a_stale_replica_lacks_is_told_as_incomplete(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("sentinel-")?;
    let redis = Sentinel::start(folder.path(), 1).await?;
    let stack = context.stack_around(&Layout::default(), folder, redis).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let kept = events::one_of_each(&user)?;
    stack.producer.send_all(&kept).await?;
    expect_notifications(&mut clients[0], &kept).await?;
    stack.redis.wait_for_replication(0).await?;
    let replica = stack.redis.server(1);
    replica.signal(Signal::STOP)?;
    // Or it would read from its socket what it has missed.
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("replica");
    kill.exec_async(&mut stack.redis.connection(0).await?).await?;
    let lost = events::one_of_each(&user)?;
    stack.producer.send_all(&lost).await?;
    expect_notifications(&mut clients[0], &lost).await?;
    let newest = stack.stream(&user).await?.pop().context("there are entries")?.0;
    stack.redis.server(0).kill().await?;
    replica.signal(Signal::CONT)?;
    stack.redis.wait_for_new_master(0).await?;
    let after = events::one_of_each(&user)?;
    stack.producer.send_all(&after).await?;
    let told = loop {
        let frame = clients[0].next_frame(TIMEOUT).await?;
        if frame["event"] == "connection_state" {
            break frame;
        }
    };
    ensure!(told["data"]["resume"] == "incomplete", "{told}");
    expect_notifications(&mut clients[0], &after).await?;
    let stream = stack.stream(&user).await?;
    ensure!(stream.len() == kept.len() + after.len(), "{} are left", stream.len());
    let resumed = stack.connection(0, &user)?.query("last_event_id", &newest);
    let state = resumed.open().await?.expect_authenticated(TIMEOUT).await?;
    ensure!(state["resume"] == "incomplete", "{state}");
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

/// An orderly failover: the old master stays and answers, as a replica.
async fn a_master_that_becomes_a_replica_is_left(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("sentinel-")?;
    let redis = Sentinel::start(folder.path(), 2).await?;
    let worker_settings = vec![("REDIS_WAIT_REPLICAS", "1".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let stack = context.stack_around(&layout, folder, redis).await?;
    let mut flow = Flow::begin(&stack, 400).await?;
    flow.reaches(50).await?;
    stack.redis.fail_over().await?;
    stack.redis.wait_for_new_master(0).await?;
    let violations = flow.end().await?;
    ensure!(violations.missing.is_empty() && violations.misdirected.is_empty(), "{violations:?}");
    ensure!(violations.out_of_order == 0, "{violations:?}");
    stack.shut_down_and_check_logs().await
}

async fn a_master_unknown_to_its_sentinels_is_named_in_the_log(_: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("sentinel-")?;
    let redis = Sentinel::start(folder.path(), 0).await?;
    let settings = [
        ("REDIS_URL", redis.url().replace("/main", "/mian")),
        ("JWT_SECRET_KEY", token::fresh_secret()),
        ("BIND_ADDRESS", "127.0.0.1".to_owned()),
        ("WEBSOCKET_PORT", "0".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value)).into();
    let gateway = service::launch("ws-gateway", &folder.path().join("log"), &settings)?;
    let lines = async || {
        let log = std::fs::read_to_string(gateway.log())?;
        let lines: Vec<String> =
            log.lines().filter(|line| line.contains("mian")).map(str::to_owned).collect();
        ensure!(!lines.is_empty(), "there is no word of it in {log}");
        Ok(lines)
    };
    let told = eventually("the log says so", TIMEOUT, lines).await?;
    ensure!(told.len() == 1 && told[0].contains("ERROR"), "it says {told:?}");
    Ok(())
}
