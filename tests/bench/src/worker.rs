//! How fast a worker moves a topic that is full into Redis, beside Redis alone.

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
    figure::{Goal, Row, median},
    script,
    setup::{self, Setup, float},
};

/// A worker that is asked for its metrics does nothing else meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a worker may take for all events.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let (events, users, runs) = setup.pick((8_000, 100, 1), (150_000, 2_000, 3));
    setup
        .on_stack((1, 1), async |stack| {
            let (mut values, mut limits, mut costs) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..runs {
                let plan = ClientPlan { users: Users::Numbered(users), ..setup::plan(stack, 1) };
                let (per_second, cost) = drain(stack, &plan, events).await?;
                values.push(per_second);
                costs.push(cost);
                let users: Vec<String> = (0..users).map(|user| plan.user(user)).collect();
                let text = script::text_of(stack, &users[0]).await?;
                limits.push(script::per_second(&stack.redis, &users, &text, events).await?);
            }
            let (limit, cost) = (median(&limits), median(&costs));
            Ok(vec![
                Row::of("worker_events_per_second", "events/s", values, Goal::RatioAtLeast(0.8))
                    .beside(limit.unwrap_or_default())
                    .noted(format!(
                        "limit: the same script pipelined by a program that does nothing else; \
                     {:.1} us of the worker's processor time an event",
                        cost.unwrap_or_default()
                    )),
            ])
        })
        .await
}

/// Fills the topic while the worker is away, and has it catch up; events a second, and its
/// processor time for each in microseconds.
async fn drain(stack: &mut Stack, plan: &ClientPlan, events: u64) -> anyhow::Result<(f64, f64)> {
    fill(stack, plan, events).await?;
    let worker = &stack.workers[0];
    // From the first that is seen, as joining the group is not what is measured.
    let (first, begun) = progress(worker, |count| count > 0.0).await?;
    let before = setup::used(worker)?.cpu;
    let (last, ended) = progress(worker, |count| count >= float(events)).await?;
    let cpu = setup::used(worker)?.cpu.saturating_sub(before);
    ensure!(last > first, "it was done before it was looked at");
    let took = (ended - begun).as_secs_f64();
    Ok(((last - first) / took, cpu.as_secs_f64() * 1e6 / (last - first)))
}

/// Stops the worker, sends events, and starts it again.
pub(crate) async fn fill(stack: &mut Stack, plan: &ClientPlan, events: u64) -> anyhow::Result<()> {
    stack.workers[0].stop().await?;
    let schedule = Schedule::new(plan, Kind::File, 0, events);
    let kafka = stack.kafka.client_config();
    let sending = move || schedule.send(&kafka, &SendProgress::default());
    let sent = tokio::task::spawn_blocking(sending).await??;
    ensure!(sent.failed == 0, "{} events were not acknowledged", sent.failed);
    stack.workers[0].restart().await
}

/// Waits until enough is published, and says how much and when.
async fn progress(
    worker: &Service,
    enough: impl Fn(f64) -> bool,
) -> anyhow::Result<(f64, Instant)> {
    let begun = Instant::now();
    loop {
        let count = published(worker).await?;
        if enough(count) {
            return Ok((count, Instant::now()));
        }
        ensure!(begun.elapsed() < LIMIT, "only {count} events were published");
        sleep(LOOK_EVERY).await;
    }
}

/// How many events of a file that was added a worker has published.
pub(crate) async fn published(worker: &Service) -> anyhow::Result<f64> {
    let page = worker.metrics().await?;
    let topic = Kind::File.topic();
    let lines = page.lines().filter(|line| {
        line.starts_with("ingest_worker_outcomes_total{")
            && line.contains(topic)
            && line.contains("\"published\"")
    });
    let mut series = lines.map(|line| line.split(' ').next().unwrap_or_default());
    let series = series.next().context("it counts what it has published")?;
    http::metric(&page, series).context("a count is a number")
}
