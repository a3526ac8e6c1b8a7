//! Throughput of a worker that publishes a backlog to Redis, against the script alone; and what an
//! event costs it at a low rate.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{http, redis::RedisTopology, service::Service, stack::Stack, usage};
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
/// Events per second at which most batches have one record.
const LOW_RATE: u64 = 1_000;

/// What it took to publish a backlog.
pub(crate) struct Drained {
    pub(crate) per_second: f64,
    /// CPU time of all workers per event, in microseconds.
    pub(crate) cpu_us: f64,
    /// Fewer than the maximum where the workers have waited for Kafka.
    records_per_batch: f64,
}

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (events, users, runs) = env.pick((8_000, 100, 1), (150_000, 2_000, 5));
    env.on_stack((1, 1), async |stack| {
        let (mut values, mut limits) = (Vec::new(), Vec::new());
        let (mut costs, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let plan = ClientPlan { users: Users::Numbered(users), ..env::plan(stack, 1) };
            let drained = drain(stack, &plan, events).await?;
            values.push(drained.per_second);
            costs.push(drained.cpu_us);
            batches.push(drained.records_per_batch);
            let users: Vec<String> = (0..users).map(|user| plan.user(user)).collect();
            let text = script::text_of(stack, &users[0]).await?;
            limits.push(script::per_second(&stack.redis, &users, &text, events).await?);
        }
        let (limit, cost, batch) = (median(&limits), median(&costs), median(&batches));
        Ok(vec![
            Figure::new("worker_events_per_second", "events/s", values, Goal::RatioAtLeast(0.8))
                .with_limit(limit.unwrap_or_default())
                .with_note(format!(
                    "limit: the same script pipelined without a worker; {:.1} us of the worker's \
                     CPU time per event; {:.0} records per batch",
                    cost.unwrap_or_default(),
                    batch.unwrap_or_default()
                )),
            low_rate(env, stack).await?,
        ])
    })
    .await
}

/// Measures the CPU time of a worker per event at a low rate.
async fn low_rate(env: &Env, stack: &Stack) -> anyhow::Result<Figure> {
    let (seconds, users, runs) = env.pick((1, 20, 1), (5, 2_000, 5));
    let (worker, events) = (&stack.workers[0], LOW_RATE * seconds);
    let (mut values, mut of_client) = (Vec::new(), Vec::new());
    let cpu = || {
        let client = usage::cpu_of_threads(worker.process().id(), "rdk:")?;
        anyhow::Ok([env::used(worker)?.cpu, client])
    };
    for _ in 0..runs {
        let plan = ClientPlan { users: Users::Numbered(users), ..env::plan(stack, 1) };
        let before = cpu()?;
        send(stack, Schedule::new(&plan, Kind::File, LOW_RATE, events)).await?;
        let after = cpu()?;
        let cost = |kind: usize| {
            let cpu = after[kind].saturating_sub(before[kind]);
            cpu.as_secs_f64() * 1e6 / float(events)
        };
        values.push(cost(0));
        of_client.push(cost(1));
    }
    let name = format!("worker_us_per_event_{LOW_RATE}");
    Ok(Figure::new(&name, "us", values, Goal::AtMost(60.0)).with_note(format!(
        "CPU time of a worker per event at {LOW_RATE} events/s; {:.1} us of it in the threads of \
         the Kafka client",
        median(&of_client).unwrap_or_default()
    )))
}

/// Fills the topic while the workers are stopped, and lets them catch up.
pub(crate) async fn drain<R: RedisTopology>(
    stack: &mut Stack<R>,
    plan: &ClientPlan,
    events: u64,
) -> anyhow::Result<Drained> {
    fill(stack, plan, events).await?;
    let workers = &stack.workers;
    // From the first published event: joining the group is not measured.
    let (first, begun) = progress(workers, |count| count > 0.0).await?;
    let before = env::used_by_all(workers)?.cpu;
    let batches = delivered_batches(workers).await?;
    let (last, ended) = progress(workers, |count| count >= float(events)).await?;
    let cpu = env::used_by_all(workers)?.cpu.saturating_sub(before);
    ensure!(last > first, "the workers were done before the first poll");
    let batches = delivered_batches(workers).await? - batches;
    let (count, took) = (last - first, (ended - begun).as_secs_f64());
    Ok(Drained {
        per_second: count / took,
        cpu_us: cpu.as_secs_f64() * 1e6 / count,
        records_per_batch: count / batches,
    })
}

async fn delivered_batches(workers: &[Service]) -> anyhow::Result<f64> {
    let mut batches = 0.0;
    for worker in workers {
        let page = worker.metrics().await?;
        let count = http::metric(&page, "ingest_worker_batches_total");
        batches += count.context("no counter of batches")?;
    }
    Ok(batches)
}

/// Stops the workers, sends events, and restarts them.
pub(crate) async fn fill<R: RedisTopology>(
    stack: &mut Stack<R>,
    plan: &ClientPlan,
    events: u64,
) -> anyhow::Result<()> {
    for worker in &mut stack.workers {
        worker.stop().await?;
    }
    send(stack, Schedule::new(plan, Kind::File, 0, events)).await?;
    for worker in &mut stack.workers {
        worker.restart().await?;
    }
    Ok(())
}

async fn send<R: RedisTopology>(stack: &Stack<R>, schedule: Schedule) -> anyhow::Result<()> {
    let kafka = stack.kafka.client_config();
    let sending = move || schedule.send(&kafka, &SendProgress::default());
    let sent = tokio::task::spawn_blocking(sending).await??;
    ensure!(sent.failed == 0, "{} events were not acknowledged", sent.failed);
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
