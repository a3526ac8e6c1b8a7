//! Provides the servers and the browser that scenarios run against. Scenarios that break nothing
//! share one broker and one [`Stack`]; a scenario that breaks or configures something starts a
//! stack of its own.

use std::sync::Arc;

use anyhow::anyhow;
use harness::{
    kafka::{JvmProfile, Kafka},
    redis::RedisTopology,
    stack::{Layout, Stack},
};
use support::browser::{self, Browser};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

use crate::requirements::Skipped;

/// A resource that the first scenario which needs it starts; a failed start fails them all.
type Shared<T> = OnceCell<Result<T, String>>;

#[derive(Default)]
pub(crate) struct Context {
    kafka: Shared<Arc<Kafka>>,
    stack: Shared<Stack>,
    browser: Shared<Browser>,
    /// Held while a stack starts: starting is CPU-bound, so two at once become ready later than
    /// one after the other.
    starting: Mutex<()>,
}

impl Context {
    /// The shared broker.
    pub(crate) async fn kafka(&self) -> anyhow::Result<Arc<Kafka>> {
        share(&self.kafka, async || Kafka::start(JvmProfile::FastStart).await).await.cloned()
    }

    /// The shared broker, unless it is embedded: that one loses its data with its process.
    pub(crate) async fn durable_kafka(&self) -> anyhow::Result<Arc<Kafka>> {
        let kafka = self.kafka().await?;
        if kafka.is_embedded() {
            return Err(Skipped("the embedded broker keeps no data").into());
        }
        Ok(kafka)
    }

    /// The shared stack: two workers in one group, two gateways. Use a fresh user.
    pub(crate) async fn stack(&self) -> anyhow::Result<&Stack> {
        let layout = Layout { workers: 2, gateways: 2, ..Layout::default() };
        share(&self.stack, async || self.own_stack(&layout).await).await
    }

    /// A stack for one scenario, which shuts it down.
    pub(crate) async fn own_stack(&self, layout: &Layout) -> anyhow::Result<Stack> {
        let kafka = self.kafka().await?;
        let _starting = self.starting.lock().await;
        Stack::start(kafka, layout).await
    }

    /// A stack for one scenario, around Redis servers that the scenario has started.
    pub(crate) async fn stack_with_redis<R: RedisTopology>(
        &self,
        layout: &Layout,
        folder: TempDir,
        redis: R,
    ) -> anyhow::Result<Stack<R>> {
        let kafka = self.kafka().await?;
        let _starting = self.starting.lock().await;
        Stack::start_with_redis(kafka, layout, folder, redis).await
    }

    /// A stack for one scenario, on a broker of its own.
    pub(crate) async fn own_broker(&self, layout: &Layout) -> anyhow::Result<Stack> {
        let kafka = self.own_kafka().await?;
        self.stack_on(kafka, layout).await
    }

    /// A broker for one scenario.
    pub(crate) async fn own_kafka(&self) -> anyhow::Result<Arc<Kafka>> {
        self.durable_kafka().await?;
        let _starting = self.starting.lock().await;
        let kafka = Kafka::start_apache(JvmProfile::FastStart).await;
        kafka.map_err(|_| Skipped("Apache Kafka does not start on this machine").into())
    }

    /// A stack for one scenario, on a broker that the scenario has started.
    pub(crate) async fn stack_on(
        &self,
        kafka: Arc<Kafka>,
        layout: &Layout,
    ) -> anyhow::Result<Stack> {
        let _starting = self.starting.lock().await;
        Stack::start(kafka, layout).await
    }

    /// The shared browser; each scenario opens a window of its own.
    pub(crate) async fn browser(&self) -> anyhow::Result<&Browser> {
        let program = browser::program().ok_or(Skipped("Chromium is not installed"))?;
        share(&self.browser, async || Browser::start(program).await).await
    }

    /// Shuts down the shared stack and checks its logs.
    pub(crate) async fn shut_down(self) -> anyhow::Result<()> {
        match self.stack.into_inner() {
            Some(Ok(stack)) => stack.shut_down_and_check_logs().await,
            _ => Ok(()),
        }
    }
}

async fn share<T>(
    shared: &Shared<T>,
    start: impl AsyncFnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<&T> {
    let started = shared.get_or_init(async || start().await.map_err(|error| format!("{error:#}")));
    started.await.as_ref().map_err(|error| anyhow!(error.clone()))
}
