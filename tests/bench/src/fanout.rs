//! One user with many sockets: what each costs, and how often the text is copied.

use std::time::Duration;

use harness::{stack::Stack, usage};
use load::{
    plan::{ClientPlan, Users},
    processes::ClientProcesses,
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    figure::{Goal, Row},
    setup::{self, CONNECT, Setup, float},
};

/// Sockets, texts, and the pause between them in microseconds.
type Size = (usize, u64, u64);

/// How large the text is whose copies are counted.
const LARGE: usize = 24 << 10;

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let sizes: &[Size] = setup.pick(
        &[(1, 20, 1_000), (5, 20, 1_000), (10, 20, 1_000)],
        &[(1, 3_000, 1_000), (10, 2_000, 1_000), (100, 600, 5_000), (1_000, 60, 50_000)],
    );
    setup
        .on_stack((0, 1), async |stack| {
            let mut costs = Vec::new();
            for size in sizes {
                costs.push((size.0, cost(stack, *size).await?));
            }
            let note = costs.iter().map(|(sockets, cost)| format!("{sockets}: {cost:.1} us"));
            let note = note.collect::<Vec<_>>().join(", ");
            let (fewer, most) = (costs[costs.len() - 2], costs[costs.len() - 1]);
            let copies = copies(stack, most.0).await?;
            Ok(vec![
                Row::of("fanout_us_per_socket", "us", vec![most.1], Goal::RatioAtMost(1.2))
                    .beside(fewer.1)
                    .noted(format!("a text to so many sockets of a user, each {note}")),
                Row::of("fanout_copies_per_socket", "copies", vec![copies], Goal::AtMost(1.0))
                    .noted(format!("peak of memory for a text of 24 KiB to {} sockets", most.0)),
            ])
        })
        .await
}

fn one_user(stack: &Stack, sockets: usize) -> ClientPlan {
    ClientPlan { users: Users::Numbered(1), ..setup::plan(stack, sockets) }
}

/// Processor time of the gateway for a text and socket, in microseconds.
async fn cost(stack: &Stack, (sockets, texts, pause): Size) -> anyhow::Result<f64> {
    let mut redis = stack.redis.connection().await?;
    let mut clients = ClientProcesses::start(one_user(stack, sockets)).await?;
    clients.connect(CONNECT).await?;
    let before = setup::used(&stack.gateways[0])?.cpu;
    let mut ticks = interval(Duration::from_micros(pause));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..texts {
        ticks.tick().await;
        setup::publish_round(&mut redis, &clients.plan, number, ("standard", 0)).await?;
    }
    let all = texts * sockets as u64;
    setup::arrived(&clients, all).await?;
    let cpu = setup::used(&stack.gateways[0])?.cpu.saturating_sub(before);
    let stats = clients.finish(texts).await?;
    anyhow::ensure!(stats.missing == 0, "{} texts are missing", stats.missing);
    Ok(cpu.as_secs_f64() * 1e6 / float(all))
}

/// How much the gateway's memory grows for one large text, in copies of it for each socket.
async fn copies(stack: &Stack, sockets: usize) -> anyhow::Result<f64> {
    let mut redis = stack.redis.connection().await?;
    let mut clients = ClientProcesses::start(one_user(stack, sockets)).await?;
    clients.connect(CONNECT).await?;
    let process = stack.gateways[0].process().id();
    usage::reset_peak(process)?;
    let before = usage::of(process)?.rss_kib;
    setup::publish_round(&mut redis, &clients.plan, 0, ("standard", LARGE)).await?;
    setup::arrived(&clients, sockets as u64).await?;
    let grown = usage::of(process)?.peak_kib.saturating_sub(before);
    clients.finish(1).await?;
    Ok(float(grown) / (float(LARGE as u64) / 1_024.0) / float(sockets as u64))
}
