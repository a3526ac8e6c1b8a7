//! Masters that share the keys.

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    producer::{header, read_topic},
    proxy::Fault,
    redis::Cluster,
    stack::{Layout, TIMEOUT},
    workspace,
};
use rdkafka::{Message as _, message::OwnedMessage};

use super::flow::Flow;
use crate::{
    assertions::{expect_delivery, expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    every_event_arrives_through_a_cluster,
    a_cluster_master_killed_while_events_flow_costs_none,
    links_between_nodes_that_break_and_return_cost_no_event,
    a_slot_moved_while_events_flow_costs_none,
    a_user_whose_keys_have_no_common_slot_holds_up_nobody,
];

async fn every_event_arrives_through_a_cluster(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("cluster-")?;
    let redis = Cluster::start(folder.path(), &[0, 0, 0]).await?;
    let stack = context.stack_around(&Layout::default(), folder, redis).await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_cluster_master_killed_while_events_flow_costs_none(
    context: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("cluster-")?;
    // After the first is gone, one replica must be left to acknowledge.
    let redis = Cluster::start(folder.path(), &[2, 1, 1]).await?;
    let worker_settings = vec![("REDIS_WAIT_REPLICAS", "1".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let stack = context.stack_around(&layout, folder, redis).await?;
    let mut flow = Flow::begin(&stack, 600).await?;
    flow.reaches(100).await?;
    stack.redis.node(0).kill().await?;
    let violations = flow.end().await?;
    ensure!(violations.missing.is_empty() && violations.misdirected.is_empty(), "{violations:?}");
    ensure!(violations.out_of_order == 0, "{violations:?}");
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn links_between_nodes_that_break_and_return_cost_no_event(
    context: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("cluster-")?;
    let redis = Cluster::start(folder.path(), &[0, 0, 0]).await?;
    let stack = context.stack_around(&Layout::default(), folder, redis).await?;
    let mut flow = Flow::begin(&stack, 2_000).await?;
    for round in 1..=3 {
        flow.reaches(400 * round).await?;
        // What the nodes tell each other now is lost, and none of them is missed that soon.
        stack.redis.set_bus_fault(Fault::Reset);
        flow.sends(20).await?;
        stack.redis.set_bus_fault(Fault::None);
    }
    flow.end().await?.ensure_none()?;
    stack.shut_down_and_check_logs().await
}

async fn a_slot_moved_while_events_flow_costs_none(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("cluster-")?;
    let redis = Cluster::start(folder.path(), &[0, 0, 0]).await?;
    let stack = context.stack_around(&Layout::default(), folder, redis).await?;
    let mut flow = Flow::begin(&stack, 600).await?;
    for (step, user) in flow.users().into_iter().take(3).enumerate() {
        flow.reaches(100 * (step + 1)).await?;
        let slot = stack.redis.slot(&harness::redis::stream_key(&user)).await?;
        let from = stack.redis.node_of(slot).await?;
        let to = (from + 1) % 3;
        stack.redis.begin_migration(slot, from, to).await?;
        // Some are on their way meanwhile.
        flow.reaches(100 * (step + 1) + 1).await?;
        stack.redis.end_migration(slot, from, to).await?;
    }
    flow.end().await?.ensure_none()?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_user_whose_keys_have_no_common_slot_holds_up_nobody(
    context: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("cluster-")?;
    let redis = Cluster::start(folder.path(), &[0, 0, 0]).await?;
    let stack = context.stack_around(&Layout::default(), folder, redis).await?;
    let (user, odd) = (fresh_user(), format!("}}{}", fresh_user()));
    let mut clients = [stack.client(&user).await?, stack.client(&odd).await?];
    let case = &events::designed()?[0];
    let (first, refused, last) = (case.fresh(&user)?, case.fresh(&odd)?, case.fresh(&user)?);
    stack.producer.send_all(&[first.clone(), refused, last.clone()]).await?;
    expect_notifications(&mut clients[0], &[first, last]).await?;
    // What others send to the same topics may be there as well.
    let is_refused = |letter: &OwnedMessage| {
        letter.payload().is_some_and(|text| String::from_utf8_lossy(text).contains(&odd))
    };
    let there = |letters: &[OwnedMessage]| letters.iter().any(is_refused);
    let letters = read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, there).await?;
    let reasons = letters.iter().filter(|letter| is_refused(letter));
    let reasons: Vec<_> = reasons.map(|letter| header(letter, "dlq.reason")).collect();
    ensure!(reasons == [Some("malformed")], "{reasons:?}");
    expect_no_further_frames(&stack, &odd, &mut clients[1..]).await?;
    stack.shut_down_and_check_logs().await
}
