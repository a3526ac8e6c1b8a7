//! What more workers and more gateways cost: the CPU time of all together for the same load.

use anyhow::ensure;
use load::plan::{ClientPlan, Users};

use crate::{
    deliveries::{Size, deliver},
    env::{self, Env, float},
    figure::{Figure, Goal, median},
    worker,
};

/// Numbers of services; the cost with one is the limit of the others.
const COUNTS: [usize; 3] = [1, 2, 4];

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (mut events, mut deliveries) = (Vec::new(), Vec::new());
    for count in COUNTS {
        events.push(microseconds_per_event(env, count).await?);
        deliveries.push(microseconds_per_delivery(env, count).await?);
    }
    let events = figures("scale_us_per_event", "workers", events);
    Ok(events.chain(figures("scale_us_per_delivery", "gateways", deliveries)).collect())
}

fn figures(name: &str, services: &str, costs: Vec<Vec<f64>>) -> impl Iterator<Item = Figure> {
    let limit = costs.first().and_then(|one| median(one)).unwrap_or_default();
    COUNTS.into_iter().zip(costs).map(move |(count, runs)| {
        Figure::new(&format!("{name}_{count}_{services}"), "us", runs, Goal::RatioAtMost(1.1))
            .with_limit(limit)
            .with_note("CPU time of all together; 3 partitions; limit: one")
    })
}

/// Returns the CPU time per event of each run, in which `workers` publish a backlog.
async fn microseconds_per_event(env: &Env, workers: usize) -> anyhow::Result<Vec<f64>> {
    let (events, users, runs) = env.pick((8_000, 100, 1), (150_000, 2_000, 5));
    env.on_stack((workers, 1), async |stack| {
        let mut costs = Vec::new();
        for _ in 0..runs {
            let plan = ClientPlan { users: Users::Numbered(users), ..env::plan(stack, 1) };
            costs.push(worker::drain(stack, &plan, events).await?.cpu_us);
        }
        Ok(costs)
    })
    .await
}

/// Returns the CPU time per delivery of each run, in which each user has one socket on one of the
/// `gateways`.
async fn microseconds_per_delivery(env: &Env, gateways: usize) -> anyhow::Result<Vec<f64>> {
    let (sockets, rounds, runs) = env.pick((20, 2, 1), (2_000, 30, 5));
    env.on_stack((0, gateways), async |stack| {
        let (times, missing) = deliver(stack, Size { sockets, rounds, runs }).await?;
        ensure!(missing == 0, "{missing} notifications are missing");
        let deliveries = float(rounds * sockets as u64);
        Ok(times.into_iter().map(|cpu| cpu.as_secs_f64() * 1e6 / deliveries).collect())
    })
    .await
}
