//! What scenarios run in: one broker and one [`Stack`] for all that break nothing, started by the
//! first that needs them and ended by [`World::end`]; a stack of its own for each that breaks
//! something.

use std::{fmt, sync::Arc};

use anyhow::anyhow;
use harness::{
    kafka::{Jvm, Kafka},
    redis::Store,
    stack::{Layout, Stack},
    workspace,
};
use serde_json::Value;
use support::{
    browser::{self, Browser},
    deployment, node,
};
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

/// Remembers a failed start as well, so that it is not tried by every scenario again.
type Started<T> = OnceCell<Result<T, String>>;

#[derive(Default)]
pub(crate) struct World {
    kafka: Started<Arc<Kafka>>,
    stack: Started<Arc<Stack>>,
    browser: Started<Arc<Browser>>,
    client_tests: Started<Value>,
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
        let start =
            async || Kafka::start(Jvm::StartsFast).await.map_err(|problem| format!("{problem:#}"));
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
        let Ok(kafka) = Kafka::start_apache(Jvm::StartsFast).await else {
            return Err(LeftOut("Apache Kafka does not run on this machine").into());
        };
        Stack::start(kafka, layout).await
    }

    /// The browser that all share; each scenario has a window of its own.
    pub(crate) async fn browser(&self) -> anyhow::Result<Arc<Browser>> {
        let Some(program) = browser::program() else {
            return Err(LeftOut("there is no Chromium on this machine").into());
        };
        let start = async || match Browser::start(program).await {
            Ok(browser) => Ok(Arc::new(browser)),
            Err(problem) => Err(format!("{problem:#}")),
        };
        self.browser.get_or_init(start).await.clone().map_err(|problem| anyhow!(problem))
    }

    /// Whether the browser client can be checked and built.
    #[expect(clippy::unused_self, reason = "what a scenario needs, it asks its world for")]
    pub(crate) fn node(&self) -> anyhow::Result<()> {
        if node::is_ready() {
            return Ok(());
        }
        Err(LeftOut("Node.js 20.19 or the client's packages are not installed").into())
    }

    /// A program of Prometheus, where it is installed.
    #[expect(clippy::unused_self, reason = "what a scenario needs, it asks its world for")]
    pub(crate) fn prometheus(&self, program: &'static str) -> anyhow::Result<&'static str> {
        let known = std::process::Command::new(program).arg("--version").output();
        match known {
            Ok(answer) if answer.status.success() => Ok(program),
            _ => Err(LeftOut("Prometheus and its promtool are not installed").into()),
        }
    }

    /// Whether KEDA's objects can be checked.
    #[expect(clippy::unused_self, reason = "what a scenario needs, it asks its world for")]
    pub(crate) fn keda(&self) -> anyhow::Result<()> {
        if deployment::has_keda() {
            return Ok(());
        }
        Err(LeftOut("Node.js 20.19, the client's packages or KEDA's types are not installed")
            .into())
    }

    /// What the browser client's own tests say, file by file; they are run once.
    pub(crate) async fn client_tests(&self) -> anyhow::Result<Value> {
        self.node()?;
        let run = async || run_client_tests().await.map_err(|problem| format!("{problem:#}"));
        self.client_tests.get_or_init(run).await.clone().map_err(|problem| anyhow!(problem))
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

async fn run_client_tests() -> anyhow::Result<Value> {
    let folder = workspace::temporary("vitest-")?;
    let report = folder.path().join("report.json");
    let output = format!("--outputFile={}", report.display());
    // It fails when a test does, and then the report says which.
    let run = node::run(&node::client(), "npm", &["test", "--", "--reporter=json", &output]).await;
    let Ok(report) = std::fs::read(report) else {
        return Err(run.err().unwrap_or(anyhow!("the tests left no report")));
    };
    let mut report: Value = serde_json::from_slice(&report)?;
    Ok(report["testResults"].take())
}
