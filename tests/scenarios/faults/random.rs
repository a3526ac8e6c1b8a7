//! Faults at random, one after another and sometimes before the last one is over, while two
//! workers and two gateways serve clients that come back. All of it follows from the seed.

use std::time::Duration;

use anyhow::Context as _;
use harness::{
    process::Signal,
    proxy::{FAULTS, Fault},
    stack::{Layout, Stack},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use redis::aio::MultiplexedConnection;
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy},
    event_generator::EventGenerator,
};
use tokio::time::Instant;

use super::{PER_SECOND, RECOVERY_LIMIT, redis::Trouble};
use crate::{
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
};

const USERS: usize = 40;

scenarios![faults_at_random_cost_no_event,];

/// What happens next, and to which of two.
#[derive(Clone, Copy, Debug)]
enum Blow {
    WorkersWay(Fault),
    GatewaysWay(Fault),
    Redis(Trouble),
    RedisDies,
    WorkerDies(usize),
    WorkerStops(usize),
    WorkerFreezes(usize),
    GatewayDies(usize),
    GatewayStops(usize),
    GatewayFreezes(usize),
}

impl Blow {
    fn any(random: &mut StdRng) -> anyhow::Result<Self> {
        let troubles = [
            Trouble::Frozen,
            Trouble::Drops("normal"),
            Trouble::Drops("pubsub"),
            Trouble::Full,
            Trouble::ReadOnly,
            Trouble::WrongPassword,
            Trouble::NoScripts,
        ];
        let fault = *FAULTS.choose(random).context("there are faults")?;
        let trouble = *troubles.choose(random).context("there are troubles")?;
        let which = random.random_range(0..2);
        let blows = [
            Self::WorkersWay(fault),
            Self::GatewaysWay(fault),
            Self::Redis(trouble),
            Self::RedisDies,
            Self::WorkerDies(which),
            Self::WorkerStops(which),
            Self::WorkerFreezes(which),
            Self::GatewayDies(which),
            Self::GatewayStops(which),
            Self::GatewayFreezes(which),
        ];
        blows.choose(random).copied().context("there are blows")
    }

    async fn begin(self, stack: &Stack, admin: &mut MultiplexedConnection) -> anyhow::Result<()> {
        let ways = stack.redis_proxies.as_ref().context("there are proxies")?;
        match self {
            Self::WorkersWay(fault) => ways.worker.set_fault(fault),
            Self::GatewaysWay(fault) => ways.gateway.set_fault(fault),
            Self::Redis(trouble) => trouble.begin(stack, admin).await?,
            Self::RedisDies => stack.redis.kill().await?,
            Self::WorkerDies(which) => stack.workers[which].kill().await?,
            Self::WorkerStops(which) => stack.workers[which].stop().await?,
            Self::WorkerFreezes(which) => stack.workers[which].signal(Signal::STOP)?,
            Self::GatewayDies(which) => stack.gateways[which].kill().await?,
            Self::GatewayStops(which) => stack.gateways[which].stop().await?,
            Self::GatewayFreezes(which) => stack.gateways[which].signal(Signal::STOP)?,
        }
        Ok(())
    }

    async fn end(self, stack: &mut Stack, admin: &mut MultiplexedConnection) -> anyhow::Result<()> {
        let ways = stack.redis_proxies.as_ref().context("there are proxies")?;
        match self {
            Self::WorkersWay(_) => ways.worker.set_fault(Fault::None),
            Self::GatewaysWay(_) => ways.gateway.set_fault(Fault::None),
            Self::Redis(trouble) => trouble.end(stack, admin).await?,
            Self::RedisDies => {
                stack.redis.restart().await?;
                *admin = stack.redis.connection().await?;
            }
            Self::WorkerDies(which) | Self::WorkerStops(which) => {
                stack.workers[which].restart().await?;
            }
            Self::WorkerFreezes(which) => stack.workers[which].signal(Signal::CONT)?,
            Self::GatewayDies(which) | Self::GatewayStops(which) => {
                stack.gateways[which].restart().await?;
            }
            Self::GatewayFreezes(which) => stack.gateways[which].signal(Signal::CONT)?,
        }
        Ok(())
    }
}

async fn faults_at_random_cost_no_event(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let layout = Layout { workers: 2, gateways: 2, proxied: true, ..Layout::default() };
    let mut stack = context.own_stack(&layout.with_static_membership()).await?;
    let fleet = ClientFleet::connect(&stack, &[(USERS, ReconnectPolicy::Resume)]).await?;
    let seed = seed("faults at random");
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed).await?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut admin = stack.redis.connection().await?;
    let length = RunProfile::current().pick(Duration::from_secs(20), Duration::from_mins(6));
    let end = Instant::now() + length;
    while Instant::now() < end {
        let blow = Blow::any(&mut random)?;
        let lasts = random.random_range(20..RunProfile::current().pick(200, 800));
        let waits = random.random_bool(0.5);
        blow.begin(&stack, &mut admin).await.with_context(|| format!("{blow:?} begins"))?;
        generator.wait_for_sent(lasts).await?;
        blow.end(&mut stack, &mut admin).await.with_context(|| format!("{blow:?} ends"))?;
        if waits {
            let repair = fleet.wait_for_delivery(RECOVERY_LIMIT).await;
            eprintln!("{blow:?} for {lasts} events: {}", repair.context(format!("{blow:?}"))?);
        } else {
            eprintln!("{blow:?} for {lasts} events, and on");
        }
    }
    generator.stop_and_flush().await?;
    fleet.wait_until_connected().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}
