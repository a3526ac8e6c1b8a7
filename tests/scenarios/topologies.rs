//! Redis with sentinels and as a cluster: the same notifications, and nothing lost when a server
//! dies, moves or forgets.

mod cluster;
mod flow;
mod sentinel;

use std::sync::Arc;

use harness::{
    events::{self, fresh_user},
    redis::Store,
    stack::Stack,
};

use crate::{Scenario, expect};

pub(crate) fn scenarios() -> Vec<Scenario> {
    [sentinel::scenarios(), cluster::scenarios()].into_iter().flatten().collect()
}

/// Checks that a fresh user gets each of the events once, and nothing else.
async fn delivers(stack: &Stack<impl Store>) -> anyhow::Result<()> {
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect::exactly(&mut clients[0], &events).await?;
    expect::nothing_else(stack, &user, &mut clients).await
}

/// A worker and a gateway on a broker that all share.
type World = Arc<crate::world::World>;
