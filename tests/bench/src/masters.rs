//! Throughput of a worker on a Redis Cluster of two masters, against one. All processes share the
//! processors of this machine, so the CPU time of each is measured too: it says what the masters
//! can do on processors of their own.

use std::time::Duration;

use anyhow::Context as _;
use harness::{
    redis::{Cluster, stream_key},
    stack::{Layout, Stack},
    usage, workspace,
};
use load::plan::{ClientPlan, Users};

use crate::{
    env::{self, Env, float},
    figure::{Figure, Goal, median},
    worker,
};

/// What was measured in each run.
#[derive(Debug, Default)]
struct Runs {
    events_per_second: Vec<f64>,
    /// Events per second of CPU time of the master that has used most.
    events_per_cpu_second: Vec<f64>,
    /// CPU time of all masters per event, in microseconds.
    redis_us: Vec<f64>,
    /// CPU time of the worker per event, in microseconds.
    worker_us: Vec<f64>,
    /// Memory of all masters per event, in bytes.
    redis_bytes: Vec<f64>,
    /// Memory of an entry of a user's history, in bytes.
    entry_bytes: Vec<f64>,
}

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (one, two) = (runs(env, 1).await?, runs(env, 2).await?);
    let middle = |values: &[f64]| median(values).unwrap_or_default();
    let figure = |name: &str, unit, goal, value: fn(&Runs) -> &Vec<f64>| {
        let figure = Figure::new(&format!("masters_{name}"), unit, value(&two).clone(), goal);
        figure.with_limit(middle(value(&one)))
    };
    let scales = Goal::RatioAtLeast(1.8);
    let processors = std::thread::available_parallelism()?;
    Ok(vec![
        figure("events_per_second", "events/s", scales, |runs| &runs.events_per_second).with_note(
            format!(
                "two masters, a worker and the broker share {processors} processors; limit: one \
                 master"
            ),
        ),
        figure("events_per_cpu_second", "events/s", scales, |runs| &runs.events_per_cpu_second)
            .with_note(format!(
                "per second of CPU time of the busier master; {:.1} us of both per event; limit: \
                 one master, {:.1} us per event",
                middle(&two.redis_us),
                middle(&one.redis_us)
            )),
        figure("worker_us_per_event", "us", Goal::RatioAtMost(1.1), |runs| &runs.worker_us)
            .with_note("CPU time of the worker; limit: one master"),
        figure("redis_bytes_per_event", "bytes", Goal::Report, |runs| &runs.redis_bytes).with_note(
            format!(
                "{:.0} of them for the entry of the history, the rest for the claim; limit: one \
                 master",
                middle(&two.entry_bytes)
            ),
        ),
    ])
}

/// Lets a worker publish a backlog to as many masters.
async fn runs(env: &Env, masters: usize) -> anyhow::Result<Runs> {
    let (events, users, count) = env.pick((8_000, 100, 1), (150_000, 2_000, 5));
    let folder = workspace::temporary("cluster-")?;
    let cluster = Cluster::start_without_proxies(folder.path(), masters).await?;
    for master in 0..masters {
        env::stop_writing_to_disk(cluster.connection(master).await?).await?;
    }
    let (kafka, layout) = (env.kafka().await?, Layout::default());
    let stack = Stack::start_with_redis(kafka, &layout, folder, cluster).await?;
    env::then_shut_down(stack, async |stack| {
        let mut runs = Runs::default();
        for _ in 0..count {
            let plan = ClientPlan { users: Users::Numbered(users), ..env::plan(stack, 1) };
            run(stack, masters, (&plan, events), &mut runs).await?;
        }
        Ok(runs)
    })
    .await
}

async fn run(
    stack: &mut Stack<Cluster>,
    masters: usize,
    (plan, events): (&ClientPlan, u64),
    runs: &mut Runs,
) -> anyhow::Result<()> {
    for master in 0..masters {
        let mut connection = stack.redis.connection(master).await?;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
    }
    let (memory, begun) = (allocated(&stack.redis, masters).await?, cpu(&stack.redis, masters)?);
    let drained = worker::drain(stack, plan, events).await?;
    let grown = allocated(&stack.redis, masters).await?.saturating_sub(memory);
    let used = cpu(&stack.redis, masters)?.into_iter().zip(begun);
    let used: Vec<f64> = used.map(|(end, begun)| end.saturating_sub(begun).as_secs_f64()).collect();
    let (sum, most) = (used.iter().sum::<f64>(), used.iter().copied().fold(0.01, f64::max));
    let events = float(events);
    runs.events_per_second.push(drained.per_second);
    runs.events_per_cpu_second.push(events / most);
    runs.redis_us.push(sum * 1e6 / events);
    runs.worker_us.push(drained.cpu_us);
    runs.redis_bytes.push(float(grown) / events);
    runs.entry_bytes.push(entry_bytes(&stack.redis, &plan.user(0)).await?);
    Ok(())
}

/// Returns the CPU time of each master.
fn cpu(redis: &Cluster, masters: usize) -> anyhow::Result<Vec<Duration>> {
    (0..masters).map(|master| Ok(usage::of(redis.node(master).id())?.cpu)).collect()
}

/// Returns the bytes that all masters have allocated.
async fn allocated(redis: &Cluster, masters: usize) -> anyhow::Result<u64> {
    let mut sum = 0;
    for master in 0..masters {
        let mut info = redis::cmd("INFO");
        let mut connection = redis.connection(master).await?;
        let info: String = info.arg("memory").query_async(&mut connection).await?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        sum += used.context("INFO has no used_memory")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// Returns the memory of a user's stream per entry.
async fn entry_bytes(redis: &Cluster, user: &str) -> anyhow::Result<f64> {
    let key = stream_key(user);
    let master = redis.node_of(redis.slot(&key).await?).await?;
    let mut connection = redis.connection(master).await?;
    let (bytes, entries): (u64, u64) = redis::pipe()
        .cmd("MEMORY")
        .arg("USAGE")
        .arg(&key)
        .cmd("XLEN")
        .arg(&key)
        .query_async(&mut connection)
        .await?;
    Ok(float(bytes) / float(entries.max(1)))
}
