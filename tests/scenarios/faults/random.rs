//! Random faults, one after another and sometimes overlapping, while two workers and two gateways
//! serve clients that reconnect. The seed determines every choice.

use std::time::Duration;

use anyhow::Context as _;
use harness::{
    process::Signal,
    proxy::{self, FAULTS},
    stack::{Layout, Stack},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use redis::aio::MultiplexedConnection;
use support::client_fleet::ReconnectPolicy;
use tokio::time::Instant;

use super::redis::RedisFault;
use crate::{context::Context, run_profile::RunProfile, runner::scenarios, under_load::UnderLoad};

scenarios![random_faults_lose_and_duplicate_no_event];

const CLIENTS: usize = 40;

/// A fault; a number selects one of the two workers or gateways.
#[derive(Clone, Copy, Debug)]
enum Fault {
    WorkerNetwork(proxy::Fault),
    GatewayNetwork(proxy::Fault),
    Redis(RedisFault),
    RedisKilled,
    WorkerKilled(usize),
    WorkerStopped(usize),
    WorkerFrozen(usize),
    GatewayKilled(usize),
    GatewayStopped(usize),
    GatewayFrozen(usize),
}

impl Fault {
    fn choose(random: &mut StdRng) -> anyhow::Result<Self> {
        let redis = [
            RedisFault::Frozen,
            RedisFault::ConnectionsClosed("normal"),
            RedisFault::ConnectionsClosed("pubsub"),
            RedisFault::OutOfMemory,
            RedisFault::ReadOnly,
            RedisFault::PasswordChanged,
            RedisFault::ScriptsFlushed,
        ];
        let network = *FAULTS.choose(random).context("the list is not empty")?;
        let redis = *redis.choose(random).context("the list is not empty")?;
        let index = random.random_range(0..2);
        let faults = [
            Self::WorkerNetwork(network),
            Self::GatewayNetwork(network),
            Self::Redis(redis),
            Self::RedisKilled,
            Self::WorkerKilled(index),
            Self::WorkerStopped(index),
            Self::WorkerFrozen(index),
            Self::GatewayKilled(index),
            Self::GatewayStopped(index),
            Self::GatewayFrozen(index),
        ];
        faults.choose(random).copied().context("the list is not empty")
    }

    /// Whether a client that resumes meanwhile is told that it may miss something, as nothing that
    /// a replica has is known to be complete. No other fault may make clients resume then.
    fn makes_resumes_incomplete(self) -> bool {
        matches!(self, Self::Redis(RedisFault::ReadOnly))
    }

    async fn start(self, stack: &Stack, admin: &mut MultiplexedConnection) -> anyhow::Result<()> {
        let proxies = stack.redis_proxies.as_ref().context("the layout has proxies")?;
        match self {
            Self::WorkerNetwork(fault) => proxies.worker.set_fault(fault),
            Self::GatewayNetwork(fault) => proxies.gateway.set_fault(fault),
            Self::Redis(fault) => fault.start(stack, admin).await?,
            Self::RedisKilled => stack.redis.kill().await?,
            Self::WorkerKilled(index) => stack.workers[index].kill().await?,
            Self::WorkerStopped(index) => stack.workers[index].stop().await?,
            Self::WorkerFrozen(index) => stack.workers[index].signal(Signal::STOP)?,
            Self::GatewayKilled(index) => stack.gateways[index].kill().await?,
            Self::GatewayStopped(index) => stack.gateways[index].stop().await?,
            Self::GatewayFrozen(index) => stack.gateways[index].signal(Signal::STOP)?,
        }
        Ok(())
    }

    async fn end(self, stack: &mut Stack, admin: &mut MultiplexedConnection) -> anyhow::Result<()> {
        let proxies = stack.redis_proxies.as_ref().context("the layout has proxies")?;
        match self {
            Self::WorkerNetwork(_) => proxies.worker.set_fault(proxy::Fault::None),
            Self::GatewayNetwork(_) => proxies.gateway.set_fault(proxy::Fault::None),
            Self::Redis(fault) => fault.end(stack, admin).await?,
            Self::RedisKilled => {
                stack.redis.restart().await?;
                *admin = stack.redis.connection().await?;
            }
            Self::WorkerKilled(index) | Self::WorkerStopped(index) => {
                stack.workers[index].restart().await?;
            }
            Self::WorkerFrozen(index) => stack.workers[index].signal(Signal::CONT)?,
            Self::GatewayKilled(index) | Self::GatewayStopped(index) => {
                stack.gateways[index].restart().await?;
            }
            Self::GatewayFrozen(index) => stack.gateways[index].signal(Signal::CONT)?,
        }
        Ok(())
    }
}

async fn random_faults_lose_and_duplicate_no_event(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let layout = Layout { workers: 2, gateways: 2, proxied: true, ..Layout::default() };
    let stack = context.own_stack(&layout.with_static_membership()).await?;
    let clients = [(CLIENTS, ReconnectPolicy::Resume)];
    let mut load = UnderLoad::with_clients(stack, &clients, "random faults").await?;
    let mut random = StdRng::seed_from_u64(load.seed);
    let mut admin = load.stack.redis.connection().await?;
    let duration = RunProfile::current().pick(Duration::from_secs(20), Duration::from_mins(6));
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let fault = Fault::choose(&mut random)?;
        let events = random.random_range(20..RunProfile::current().pick(200, 800));
        let is_alone = fault.makes_resumes_incomplete();
        let recovers_before_next = random.random_bool(0.5) || is_alone;
        let what = format!("{fault:?} for {events} events");
        if is_alone {
            load.wait_for_recovery("the faults before").await.with_context(|| what.clone())?;
            load.clients.wait_until_connected().await?;
        }
        fault.start(&load.stack, &mut admin).await.with_context(|| format!("start of {what}"))?;
        load.events.wait_for_sent(events).await?;
        fault.end(&mut load.stack, &mut admin).await.with_context(|| format!("end of {what}"))?;
        if recovers_before_next {
            load.wait_for_recovery(&what).await.context(what)?;
        } else {
            eprintln!("{what}, next fault at once");
        }
    }
    load.clients.wait_until_connected().await?;
    load.finish().await
}
