//! Throughput of a worker that publishes a backlog to Redis, against the script alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{http, service::Service, stack::Stack};
use load::{
    events::Kind,
    plan::{ClientPlan, Users},
    schedule::{Schedule, SendProgress},
};
use tokio::time::sleep;

use crate::{
    env::{self, Env, float},
    figure::{Figure, Goal, median},
    script,
};

/// Interval of reading the metrics; reading them costs the worker time.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest time for a worker to publish all events.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (events, users, runs) = env.pick((8_000, 100, 1), (150_000, 2_000, 5));
    env.on_stack((1, 1), async |stack| {
        let (mut values, mut limits, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let plan = ClientPlan { users: Users::Numbered(users), ..env::plan(stack, 1) };
            let (per_second, cost) = drain(stack, &plan, events).await?;
            values.push(per_second);
            costs.push(cost);
            let users: Vec<String> = (0..users).map(|user| plan.user(user)).collect();
            let text = script::text_of(stack, &users[0]).await?;
            limits.push(script::per_second(&stack.redis, &users, &text, events).await?);
        }
        let (limit, cost) = (median(&limits), median(&costs));
        Ok(vec![
            Figure::new("worker_events_per_second", "events/s", values, Goal::RatioAtLeast(0.8))
                .with_limit(limit.unwrap_or_default())
                .with_note(format!(
                    "limit: the same script pipelined without a worker; {:.1} us of the worker's \
                     CPU time per event",
                    cost.unwrap_or_default()
                )),
        ])
    })
    .await
}

/// Fills the topic while the workers are stopped, and lets them catch up; returns events per second
/// and the CPU time of all workers per event in microseconds.
pub(crate) async fn drain(
    stack: &mut Stack,
    plan: &ClientPlan,
    events: u64,
) -> anyhow::Result<(f64, f64)> {
    fill(stack, plan, events).await?;
    let workers = &stack.workers;
    // From the first published event: joining the group is not measured.
    let (first, begun) = progress(workers, |count| count > 0.0).await?;
    let before = env::used_by_all(workers)?.cpu;
    let (last, ended) = progress(workers, |count| count >= float(events)).await?;
    let cpu = env::used_by_all(workers)?.cpu.saturating_sub(before);
    ensure!(last > first, "the workers were done before the first poll");
    let took = (ended - begun).as_secs_f64();
    Ok(((last - first) / took, cpu.as_secs_f64() * 1e6 / (last - first)))
}

/// Stops the workers, sends events, and restarts them.
pub(crate) async fn fill(stack: &mut Stack, plan: &ClientPlan, events: u64) -> anyhow::Result<()> {
    for worker in &mut stack.workers {
        worker.stop().await?;
    }
    let schedule = Schedule::new(plan, Kind::File, 0, events);
    let kafka = stack.kafka.client_config();
    let sending = move || schedule.send(&kafka, &SendProgress::default());
    let sent = tokio::task::spawn_blocking(sending).await??;
    ensure!(sent.failed == 0, "{} events were not acknowledged", sent.failed);
    for worker in &mut stack.workers {
        worker.restart().await?;
    }
    Ok(())
}

/// Waits until the published count satisfies `is_reached`; returns count and time.
async fn progress(
    workers: &[Service],
    is_reached: impl Fn(f64) -> bool,
) -> anyhow::Result<(f64, Instant)> {
    let begun = Instant::now();
    loop {
        let mut count = 0.0;
        for worker in workers {
            count += published(worker).await?;
        }
        if is_reached(count) {
            return Ok((count, Instant::now()));
        }
        ensure!(begun.elapsed() < LIMIT, "only {count} events were published");
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns how many `file added` events a worker has published.
pub(crate) async fn published(worker: &Service) -> anyhow::Result<f64> {
    let page = worker.metrics().await?;
    let topic = Kind::File.topic();
    let lines = page.lines().filter(|line| {
        line.starts_with("ingest_worker_outcomes_total{")
            && line.contains(topic)
            && line.contains("\"published\"")
    });
    let mut series = lines.map(|line| line.split(' ').next().unwrap_or_default());
    let series = series.next().context("no series of published events")?;
    http::metric(&page, series).context("the series has no value")
}
