//! What scenarios run in: one broker and one [`Stack`] for all that break nothing, started by the
//! first that needs them and ended by [`World::end`]; a stack of its own for each that breaks
//! something.

use std::{fmt, sync::Arc};

use anyhow::anyhow;
use e2e::{
    kafka::Kafka,
    redis::Store,
    stack::{Layout, Stack},
};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

/// Remembers a failed start as well, so that it is not tried by every scenario again.
type Started<T> = OnceCell<Result<T, String>>;

#[derive(Default)]
pub(crate) struct World {
    kafka: Started<Arc<Kafka>>,
    stack: Started<Arc<Stack>>,
    /// Starting is all processor time: two stacks at once are ready later than one by one.
    starting: Mutex<()>,
}

/// Why a scenario is left out on this machine.
#[derive(Debug)]
pub(crate) struct LeftOut(pub(crate) &'static str);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for LeftOut {}

impl World {
    /// The broker that all share.
    pub(crate) async fn kafka(&self) -> anyhow::Result<Arc<Kafka>> {
        let start = async || Kafka::start().await.map_err(|problem| format!("{problem:#}"));
        self.kafka.get_or_init(start).await.clone().map_err(|problem| anyhow!(problem))
    }

    /// The broker, unless it is one on which durability cannot be judged.
    pub(crate) async fn durable_kafka(&self) -> anyhow::Result<Arc<Kafka>> {
        let kafka = self.kafka().await?;
        if kafka.is_embedded() {
            return Err(LeftOut("the embedded broker cannot judge durability").into());
        }
        Ok(kafka)
    }

    /// The stack that all share: two workers in one group, two gateways. Use fresh users.
    pub(crate) async fn stack(&self) -> anyhow::Result<Arc<Stack>> {
        let layout = Layout { workers: 2, gateways: 2, ..Layout::default() };
        let start = async || match self.own_stack(&layout).await {
            Ok(stack) => Ok(Arc::new(stack)),
            Err(problem) => Err(format!("{problem:#}")),
        };
        self.stack.get_or_init(start).await.clone().map_err(|problem| anyhow!(problem))
    }

    /// A stack for one scenario, which stops it at its end.
    pub(crate) async fn own_stack(&self, layout: &Layout) -> anyhow::Result<Stack> {
        let kafka = self.kafka().await?;
        let _starting = self.starting.lock().await;
        Stack::start(kafka, layout).await
    }

    /// The same around servers that the scenario has started.
    pub(crate) async fn stack_around<R: Store>(
        &self,
        layout: &Layout,
        folder: TempDir,
        redis: R,
    ) -> anyhow::Result<Stack<R>> {
        let kafka = self.kafka().await?;
        let _starting = self.starting.lock().await;
        Stack::around(kafka, layout, folder, redis).await
    }

    /// A broker for one scenario, which breaks it, and a stack around it.
    pub(crate) async fn own_broker(&self, layout: &Layout) -> anyhow::Result<Stack> {
        self.durable_kafka().await?;
        let _starting = self.starting.lock().await;
        let Ok(kafka) = Kafka::start_apache().await else {
            return Err(LeftOut("Apache Kafka does not run on this machine").into());
        };
        Stack::start(kafka, layout).await
    }

    /// Stops what is shared, in order.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        match self.stack.into_inner() {
            Some(Ok(stack)) => {
                let stack = Arc::into_inner(stack).ok_or(anyhow!("the stack is still in use"))?;
                stack.stop().await
            }
            _ => Ok(()),
        }
    }
}
