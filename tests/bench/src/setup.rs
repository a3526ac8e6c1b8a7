//! What measurements have in common: how much of everything, stacks without what would disturb,
//! crowds for them, and what their services take.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use harness::{
    kafka::{JvmProfile, Kafka},
    service::Service,
    stack::{Layout, Stack},
    usage::{self, Usage},
    workspace,
};
use load::{
    now,
    plan::ClientPlan,
    processes::ClientProcesses,
    tag::{EventTag, RunId},
    tokens::Tokens,
};

use crate::figure::Row;

/// How long a plan may take to connect.
pub(crate) const CONNECT: Duration = Duration::from_mins(3);
/// How long texts may be under way.
pub(crate) const ARRIVE: Duration = Duration::from_secs(30);
/// How many texts are published in one round trip.
const PIPELINE: usize = 500;

/// How much is measured.
pub(crate) struct Setup {
    /// As little as possible.
    pub(crate) quick: bool,
}

impl Setup {
    /// The one for short runs or the other.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The best broker there is; for a short run, the one that is there at once.
    pub(crate) async fn kafka(&self) -> anyhow::Result<Arc<Kafka>> {
        if self.quick {
            Kafka::start_embedded().await
        } else {
            Kafka::start(JvmProfile::LowPause).await
        }
    }

    /// Measures on a stack of so many workers and gateways, and stops it whatever came of it.
    pub(crate) async fn on_stack(
        &self,
        (workers, gateways): (usize, usize),
        measure: impl AsyncFnOnce(&mut Stack) -> anyhow::Result<Vec<Row>>,
    ) -> anyhow::Result<Vec<Row>> {
        // Without workers nothing but the topics is needed of a broker.
        let kafka = if workers == 0 { Kafka::start_embedded().await } else { self.kafka().await };
        self.on_stack_of(kafka?, (workers, gateways), measure).await
    }

    /// The same around a broker.
    pub(crate) async fn on_stack_of(
        &self,
        kafka: Arc<Kafka>,
        (workers, gateways): (usize, usize),
        measure: impl AsyncFnOnce(&mut Stack) -> anyhow::Result<Vec<Row>>,
    ) -> anyhow::Result<Vec<Row>> {
        let gateway_settings = vec![
            ("MAX_HANDSHAKES_PER_SECOND", "1000000".to_owned()),
            ("MAX_PENDING_CONNECTIONS", "20000".to_owned()),
            ("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "2000".to_owned()),
            ("WEBSOCKET_PING_INTERVAL", "25s".to_owned()),
            ("JWT_ALGORITHM", "HS256,RS256".to_owned()),
            ("JWT_PUBLIC_KEY_PATH", rsa_key("pub").display().to_string()),
        ];
        let layout = Layout { workers, gateways, gateway_settings, ..Layout::default() };
        let mut stack = Stack::start(kafka, &layout).await?;
        // It is the memory of Redis that is measured, not this machine's disk.
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg("appendonly").arg("no");
        config.exec_async(&mut stack.redis.connection().await?).await?;
        let measured = measure(&mut stack).await;
        // One that was killed does not stop in order.
        let stopped = stack.shut_down_and_check_logs().await;
        let rows = measured?;
        stopped.context("the stack did not stop in order")?;
        Ok(rows)
    }
}

/// The file with the public or the private half of a key that is there for tests.
pub(crate) fn rsa_key(half: &str) -> PathBuf {
    workspace::root().join(format!("ws-gateway/src/auth/test_keys/rsa.{half}.pem"))
}

/// The addresses of a stack's gateways.
pub(crate) fn urls(stack: &Stack) -> Vec<String> {
    stack.gateways.iter().map(|gateway| format!("ws://{}/ws", gateway.address())).collect()
}

/// So many clients of a stack, one for each user.
pub(crate) fn plan(stack: &Stack, sockets: usize) -> ClientPlan {
    ClientPlan::new(sockets, urls(stack), Tokens::Secret(stack.secret.clone()))
}

/// What a service has taken so far.
pub(crate) fn used(service: &Service) -> anyhow::Result<Usage> {
    usage::of(service.process().id())
}

/// What all services have taken together.
pub(crate) fn used_by_all<'a>(
    services: impl IntoIterator<Item = &'a Service>,
) -> anyhow::Result<Usage> {
    services.into_iter().try_fold(Usage::default(), |sum, service| {
        let Usage { cpu, rss_kib, peak_kib } = used(service)?;
        Ok(Usage {
            cpu: sum.cpu + cpu,
            rss_kib: sum.rss_kib + rss_kib,
            peak_kib: sum.peak_kib + peak_kib,
        })
    })
}

/// A notification as the script on Redis publishes it, `size` bytes larger than the usual one.
pub(crate) fn notification(
    run: &RunId,
    user: &str,
    number: u64,
    (priority, size): (&str, usize),
) -> String {
    let tag = run.encode(EventTag { number, due: now() });
    let id = 1_700_000_000_000 + number;
    let filler = "x".repeat(size);
    format!(
        r#"{{"id":"{id}-0","event":"batch_file_added","category":"file_operations","priority":"{priority}","timestamp":"2025-08-06T09:15:30.123456Z","user_id":"{user}","event_id":"0b8f6a51-6a0f-4f3f-9a39-000000000001","correlation_id":"5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10","data":{{"batch_id":"7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11","file_upload_id":"f11e0000-0000-4000-8000-000000000001","filename":"{tag}{filler}","timestamp":"2025-08-06T09:15:30.123456Z","category":"file_operations","priority":"{priority}"}}}}"#
    )
}

/// Publishes a round: one text to each user of a plan.
pub(crate) async fn publish_round(
    redis: &mut redis::aio::MultiplexedConnection,
    plan: &ClientPlan,
    number: u64,
    how: (&str, usize),
) -> anyhow::Result<()> {
    let run = RunId::new(&plan.run);
    let users: Vec<usize> = (0..plan.user_count()).collect();
    for some in users.chunks(PIPELINE) {
        let mut pipeline = redis::pipe();
        for user in some {
            let user = plan.user(*user);
            let text = notification(&run, &user, number, how);
            pipeline.cmd("PUBLISH").arg(format!("ws:{user}")).arg(text).ignore();
        }
        pipeline.exec_async(redis).await.context("publish")?;
    }
    Ok(())
}

/// Waits until a clients has received so many texts in all.
pub(crate) async fn arrived(clients: &ClientProcesses, texts: u64) -> anyhow::Result<()> {
    clients.wait_until("every text has arrived", ARRIVE, |now| now.received >= texts).await?;
    Ok(())
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
