//! A master that sentinels choose.

use anyhow::ensure;
use e2e::{redis::Sentinel, stack::Layout, workspace};

use super::{World, delivers, flow::Flow};
use crate::{Scenario, scenario};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(every_event_arrives_with_sentinels),
        scenario(a_master_killed_while_events_flow_costs_none),
    ]
}

async fn every_event_arrives_with_sentinels(world: World) -> anyhow::Result<()> {
    let folder = workspace::temporary("sentinel-")?;
    let redis = Sentinel::start(folder.path(), 1).await?;
    let stack = world.stack_around(&Layout::default(), folder, redis).await?;
    delivers(&stack).await?;
    // Two of three sentinels are enough to find the master.
    stack.redis.sentinel(0).kill().await?;
    delivers(&stack).await?;
    stack.stop().await
}

async fn a_master_killed_while_events_flow_costs_none(world: World) -> anyhow::Result<()> {
    let folder = workspace::temporary("sentinel-")?;
    // After the first is gone, one replica must be left to acknowledge.
    let redis = Sentinel::start(folder.path(), 2).await?;
    let worker_settings = vec![("REDIS_WAIT_REPLICAS", "1".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let stack = world.stack_around(&layout, folder, redis).await?;
    let mut flow = Flow::begin(&stack, 600).await?;
    flow.reaches(100).await?;
    stack.redis.server(0).kill().await?;
    let verdict = flow.end().await?;
    ensure!(stack.redis.master().await? != 0, "another master was chosen");
    ensure!(verdict.missing.is_empty() && verdict.misdirected.is_empty(), "{verdict:?}");
    ensure!(verdict.steps_back == 0, "{verdict:?}");
    delivers(&stack).await?;
    stack.stop().await
}
