//! How many frames the gateway writes with one processor, each to a socket of its own, beside a
//! bare loop over as many sockets.

use std::time::Duration;

use harness::usage;
use load::{plan::ClientPlan, processes::ClientProcesses, tag::RunId, tokens::Tokens};

use crate::{
    baseline::Baseline,
    figure::{Goal, Row, median},
    setup::{self, CONNECT, Setup, float},
};

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let sizes: &[usize] = setup.pick(&[20], &[1_000, 10_000]);
    let (runs, texts) = setup.pick((1, 40), (5, 60_000));
    let mut rows = Vec::new();
    for &sockets in sizes {
        let rounds = (texts / sockets).max(1) as u64;
        let limits = bare(sockets, rounds, runs).await?;
        let limit = median(&limits).unwrap_or_default();
        rows.extend(gateway(setup, sockets, rounds, runs, limit).await?);
    }
    Ok(rows)
}

/// Frames for each second of the gateway's processor time.
async fn gateway(
    setup: &Setup,
    sockets: usize,
    rounds: u64,
    runs: usize,
    limit: f64,
) -> anyhow::Result<Vec<Row>> {
    setup
        .on_stack((0, 1), async |stack| {
            let mut redis = stack.redis.connection().await?;
            let mut clients = ClientProcesses::start(setup::plan(stack, sockets)).await?;
            clients.connect(CONNECT).await?;
            let (mut values, mut number) = (Vec::new(), 0);
            for _ in 0..runs {
                let before = setup::used(&stack.gateways[0])?.cpu;
                for _ in 0..rounds {
                    setup::publish_round(&mut redis, &clients.plan, number, ("standard", 0))
                        .await?;
                    number += 1;
                    setup::arrived(&clients, number * sockets as u64).await?;
                }
                let cpu = setup::used(&stack.gateways[0])?.cpu.saturating_sub(before);
                values.push(per_core(rounds * sockets as u64, cpu));
            }
            let stats = clients.finish(number * sockets as u64).await?;
            let lost = (stats.missing > 0).then(|| format!("{} texts are missing", stats.missing));
            let name = format!("deliveries_per_core_{sockets}");
            Ok(vec![
                Row::of(&name, "frames/s", values, Goal::RatioAtLeast(0.8))
                    .beside(limit)
                    .noted("limit: a bare tokio-tungstenite loop")
                    .missed_if(lost),
            ])
        })
        .await
}

async fn bare(sockets: usize, rounds: u64, runs: usize) -> anyhow::Result<Vec<f64>> {
    let mut server = Baseline::start().await?;
    let plan = ClientPlan::new(sockets, vec![server.url.clone()], Tokens::Secret("none".into()));
    let run = RunId::new(&plan.run);
    let user = plan.user(sockets / 2);
    let mut clients = ClientProcesses::start(plan).await?;
    clients.connect(CONNECT).await?;
    let (mut values, mut number) = (Vec::new(), 0);
    for _ in 0..runs {
        let before = usage::of(server.id()?)?.cpu;
        for _ in 0..rounds {
            server.send(&setup::notification(&run, &user, number, ("standard", 0))).await?;
            number += 1;
            setup::arrived(&clients, number * sockets as u64).await?;
        }
        let cpu = usage::of(server.id()?)?.cpu.saturating_sub(before);
        values.push(per_core(rounds * sockets as u64, cpu));
    }
    clients.finish(0).await?;
    server.end().await?;
    Ok(values)
}

/// The kernel counts processor time in hundredths of a second.
fn per_core(frames: u64, cpu: Duration) -> f64 {
    float(frames) / cpu.max(Duration::from_millis(10)).as_secs_f64()
}
