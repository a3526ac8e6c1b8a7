//! What the measurements share: their scale, stacks without rate limits, client plans,
//! notifications to publish, and the resource usage of services.

use std::{ops::Range, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use harness::{
    kafka::{JvmProfile, Kafka},
    redis::RedisTopology,
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

/// Longest time for all clients to connect.
pub(crate) const CONNECT: Duration = Duration::from_mins(3);
/// Longest time for all notifications to arrive.
pub(crate) const ARRIVE: Duration = Duration::from_secs(30);
/// Notifications per Redis pipeline.
const PIPELINE: usize = 500;

/// The environment of the measurements.
pub(crate) struct Env {
    /// Whether to measure at a small scale.
    pub(crate) quick: bool,
}

impl Env {
    /// Returns the value for quick or full runs.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Starts the best available broker, or the embedded one for a quick run.
    pub(crate) async fn kafka(&self) -> anyhow::Result<Arc<Kafka>> {
        if self.quick {
            Kafka::start_embedded().await
        } else {
            Kafka::start(JvmProfile::LowPause).await
        }
    }

    /// Measures on a stack of workers and gateways, and shuts it down even after an error.
    pub(crate) async fn on_stack<T>(
        &self,
        (workers, gateways): (usize, usize),
        measure: impl AsyncFnOnce(&mut Stack) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        // Without workers any broker will do.
        let kafka = if workers == 0 { Kafka::start_embedded().await } else { self.kafka().await };
        self.on_stack_of(kafka?, (workers, gateways), Vec::new(), measure).await
    }

    /// Measures on a stack of one worker with further settings.
    pub(crate) async fn on_worker<T>(
        &self,
        worker_settings: Vec<(&'static str, String)>,
        measure: impl AsyncFnOnce(&mut Stack) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let kafka = self.kafka().await?;
        on_layout(kafka, Layout { worker_settings, ..Layout::default() }, measure).await
    }

    /// Measures on a stack with the given broker and further gateway settings.
    pub(crate) async fn on_stack_of<T>(
        &self,
        kafka: Arc<Kafka>,
        (workers, gateways): (usize, usize),
        mut gateway_settings: Vec<(&'static str, String)>,
        measure: impl AsyncFnOnce(&mut Stack) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        gateway_settings.extend([
            // As in the image.
            ("MALLOC_ARENA_MAX", "2".to_owned()),
            ("MAX_HANDSHAKES_PER_SECOND", "1000000".to_owned()),
            ("MAX_PENDING_CONNECTIONS", "20000".to_owned()),
            ("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "2000".to_owned()),
            ("WEBSOCKET_PING_INTERVAL", "25s".to_owned()),
            ("JWT_ALGORITHM", "HS256,RS256".to_owned()),
            ("JWT_PUBLIC_KEY_PATH", rsa_key("pub").display().to_string()),
        ]);
        let layout = Layout { workers, gateways, gateway_settings, ..Layout::default() };
        on_layout(kafka, layout, measure).await
    }
}

async fn on_layout<T>(
    kafka: Arc<Kafka>,
    layout: Layout,
    measure: impl AsyncFnOnce(&mut Stack) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let stack = Stack::start(kafka, &layout).await?;
    stop_writing_to_disk(stack.redis.connection().await?).await?;
    then_shut_down(stack, measure).await
}

/// Turns the persistence of a Redis server off, so that the disk does not limit it.
pub(crate) async fn stop_writing_to_disk(
    mut redis: redis::aio::MultiplexedConnection,
) -> anyhow::Result<()> {
    let mut config = redis::cmd("CONFIG");
    config.arg("SET").arg("appendonly").arg("no");
    Ok(config.exec_async(&mut redis).await?)
}

/// Measures on a running stack, and shuts it down even after an error.
pub(crate) async fn then_shut_down<R: RedisTopology, T>(
    mut stack: Stack<R>,
    measure: impl AsyncFnOnce(&mut Stack<R>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let measured = measure(&mut stack).await;
    let stopped = stack.shut_down_and_check_logs().await;
    let measured = measured?;
    stopped.context("the stack did not shut down gracefully")?;
    Ok(measured)
}

/// Returns the path of the public (`pub`) or private (`key`) RSA test key.
pub(crate) fn rsa_key(half: &str) -> PathBuf {
    workspace::root().join(format!("ws-gateway/src/auth/test_keys/rsa.{half}.pem"))
}

/// Returns the addresses of a stack's gateways.
fn urls<R: RedisTopology>(stack: &Stack<R>) -> Vec<String> {
    stack.gateways.iter().map(|gateway| format!("ws://{}/ws", gateway.address())).collect()
}

/// Returns a plan of clients for a stack, one per user.
pub(crate) fn plan<R: RedisTopology>(stack: &Stack<R>, sockets: usize) -> ClientPlan {
    ClientPlan::new(sockets, urls(stack), Tokens::Secret(stack.secret.clone()))
}

/// Returns the resource usage of a service.
pub(crate) fn used(service: &Service) -> anyhow::Result<Usage> {
    usage::of(service.process().id())
}

/// Returns the resource usage of several services together.
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

/// Returns a notification like the worker publishes, with `padding` bytes added.
pub(crate) fn notification(
    run: &RunId,
    user: &str,
    number: u64,
    (priority, padding): (&str, usize),
) -> String {
    let tag = run.encode(EventTag { number, due: now() });
    let id = 1_700_000_000_000 + number;
    let filler = "x".repeat(padding);
    format!(
        r#"{{"id":"{id}-0","event":"batch_file_added","category":"file_operations","priority":"{priority}","timestamp":"2025-08-06T09:15:30.123456Z","user_id":"{user}","event_id":"0b8f6a51-6a0f-4f3f-9a39-000000000001","correlation_id":"5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10","data":{{"batch_id":"7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11","file_upload_id":"f11e0000-0000-4000-8000-000000000001","filename":"{tag}{filler}","timestamp":"2025-08-06T09:15:30.123456Z","category":"file_operations","priority":"{priority}"}}}}"#
    )
}

/// Publishes one notification to each user of a plan.
pub(crate) async fn publish_round(
    redis: &mut redis::aio::MultiplexedConnection,
    plan: &ClientPlan,
    number: u64,
    kind: (&str, usize),
) -> anyhow::Result<()> {
    publish_bursts(redis, plan, number..number + 1, kind).await
}

/// Publishes all of the numbered notifications to each user of a plan, user after user.
pub(crate) async fn publish_bursts(
    redis: &mut redis::aio::MultiplexedConnection,
    plan: &ClientPlan,
    numbers: Range<u64>,
    kind: (&str, usize),
) -> anyhow::Result<()> {
    let run = RunId::new(&plan.run);
    let users: Vec<usize> = (0..plan.user_count()).collect();
    let burst = usize::try_from(numbers.end - numbers.start)?;
    for chunk in users.chunks((PIPELINE / burst).max(1)) {
        let mut pipeline = redis::pipe();
        for user in chunk {
            let user = plan.user(*user);
            for number in numbers.clone() {
                let text = notification(&run, &user, number, kind);
                pipeline.cmd("PUBLISH").arg(format!("ws:{user}")).arg(text).ignore();
            }
        }
        pipeline.exec_async(redis).await.context("publish")?;
    }
    Ok(())
}

/// Waits until the clients have received this number of notifications.
pub(crate) async fn arrived(clients: &ClientProcesses, notifications: u64) -> anyhow::Result<()> {
    clients
        .wait_until("all notifications arrive", ARRIVE, |now| now.received >= notifications)
        .await?;
    Ok(())
}

/// Converts a count.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
