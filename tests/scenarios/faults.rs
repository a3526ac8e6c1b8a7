//! What Redis may do to the services while they run.

use std::sync::Arc;

use e2e::{
    events::{self, fresh_user},
    stack::Layout,
};

use crate::{Scenario, expect, scenario, world::World};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(a_lost_subscription_costs_no_event_and_no_socket),
        scenario(flushed_scripts_and_keys_cost_no_later_event),
    ]
}

async fn a_lost_subscription_costs_no_event_and_no_socket(world: Arc<World>) -> anyhow::Result<()> {
    let (stack, user) = (world.own_stack(&Layout::default()).await?, fresh_user());
    let mut clients = [stack.client(&user).await?, stack.client(&user).await?];
    let mut redis = stack.redis.connection().await?;
    let mut sent = Vec::new();
    for _ in 0..5 {
        let events = events::one_of_each(&user)?;
        stack.producer.send_all(&events).await?;
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub").exec_async(&mut redis).await?;
        sent.extend(events);
    }
    for client in &mut clients {
        expect::exactly(client, &sent).await?;
    }
    stack.subscribed(&user, 1).await?;
    expect::nothing_else(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.stop().await
}

async fn flushed_scripts_and_keys_cost_no_later_event(world: Arc<World>) -> anyhow::Result<()> {
    let (stack, user) = (world.own_stack(&Layout::default()).await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let mut redis = stack.redis.connection().await?;
    for flush in [["SCRIPT", "FLUSH"], ["FLUSHALL", "SYNC"]] {
        redis::cmd(flush[0]).arg(flush[1]).exec_async(&mut redis).await?;
        let events = events::one_of_each(&user)?;
        stack.producer.send_all(&events).await?;
        expect::exactly(&mut clients[0], &events).await?;
    }
    expect::nothing_else(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.stop().await
}
