//! Fan-out to one user's sockets: CPU time per socket, and memory for copies of the text.

use std::time::Duration;

use harness::{stack::Stack, usage};
use load::{
    plan::{ClientPlan, Users},
    processes::ClientProcesses,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal},
};

/// Sockets, notifications, and the interval between them in microseconds.
type Size = (usize, u64, u64);

/// Size of the text whose copies are counted, in bytes.
const LARGE_TEXT: usize = 24 << 10;

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let sizes: &[Size] = env.pick(
        &[(1, 20, 1_000), (5, 20, 1_000), (10, 20, 1_000)],
        &[(1, 3_000, 1_000), (10, 2_000, 1_000), (100, 600, 5_000), (1_000, 60, 50_000)],
    );
    env.on_stack((0, 1), async |stack| {
        let mut costs = Vec::new();
        for size in sizes {
            costs.push((size.0, cost(stack, *size).await?));
        }
        let note = costs.iter().map(|(sockets, cost)| format!("{sockets}: {cost:.1} us"));
        let note = note.collect::<Vec<_>>().join(", ");
        let (fewer, most) = (costs[costs.len() - 2], costs[costs.len() - 1]);
        let copies = copies(stack, most.0).await?;
        Ok(vec![
            Figure::new("fanout_us_per_socket", "us", vec![most.1], Goal::RatioAtMost(1.2))
                .with_limit(fewer.1)
                .with_note(format!("per socket, by number of sockets: {note}")),
            Figure::new("fanout_copies_per_socket", "copies", vec![copies], Goal::AtMost(1.0))
                .with_note(format!("peak memory for a text of 24 KiB to {} sockets", most.0)),
        ])
    })
    .await
}

fn one_user(stack: &Stack, sockets: usize) -> ClientPlan {
    ClientPlan { users: Users::Numbered(1), ..env::plan(stack, sockets) }
}

/// Returns the gateway's CPU time per frame in microseconds.
async fn cost(stack: &Stack, (sockets, texts, pause): Size) -> anyhow::Result<f64> {
    let mut redis = stack.redis.connection().await?;
    let mut clients = ClientProcesses::start(one_user(stack, sockets)).await?;
    clients.connect(CONNECT).await?;
    let before = env::used(&stack.gateways[0])?.cpu;
    let mut ticks = interval(Duration::from_micros(pause));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..texts {
        ticks.tick().await;
        env::publish_round(&mut redis, &clients.plan, number, ("standard", 0)).await?;
    }
    let all = texts * sockets as u64;
    env::arrived(&clients, all).await?;
    let cpu = env::used(&stack.gateways[0])?.cpu.saturating_sub(before);
    let stats = clients.finish(texts).await?;
    anyhow::ensure!(stats.missing == 0, "{} notifications are missing", stats.missing);
    Ok(cpu.as_secs_f64() * 1e6 / float(all))
}

/// Returns the growth of the gateway's peak memory for one large text, in copies per socket.
async fn copies(stack: &Stack, sockets: usize) -> anyhow::Result<f64> {
    let mut redis = stack.redis.connection().await?;
    let mut clients = ClientProcesses::start(one_user(stack, sockets)).await?;
    clients.connect(CONNECT).await?;
    let process = stack.gateways[0].process().id();
    usage::reset_peak(process)?;
    let before = usage::of(process)?.rss_kib;
    env::publish_round(&mut redis, &clients.plan, 0, ("standard", LARGE_TEXT)).await?;
    env::arrived(&clients, sockets as u64).await?;
    let grown = usage::of(process)?.peak_kib.saturating_sub(before);
    clients.finish(1).await?;
    Ok(float(grown) / (float(LARGE_TEXT as u64) / 1_024.0) / float(sockets as u64))
}
