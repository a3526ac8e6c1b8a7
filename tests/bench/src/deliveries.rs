//! Frames per second and core that the gateway writes, one per socket, against the baseline server
//! with as many sockets.

use std::time::Duration;

use harness::usage;
use load::{plan::ClientPlan, processes::ClientProcesses, tag::RunId, tokens::Tokens};

use crate::{
    baseline::Baseline,
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal, median},
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let sizes: &[usize] = env.pick(&[20], &[1_000, 10_000]);
    let (runs, texts) = env.pick((1, 40), (5, 60_000));
    let mut figures = Vec::new();
    for &sockets in sizes {
        let rounds = (texts / sockets).max(1) as u64;
        let limits = baseline(sockets, rounds, runs).await?;
        let limit = median(&limits).unwrap_or_default();
        figures.extend(gateway(env, sockets, rounds, runs, limit).await?);
    }
    Ok(figures)
}

/// Frames per second of the gateway's CPU time.
async fn gateway(
    env: &Env,
    sockets: usize,
    rounds: u64,
    runs: usize,
    limit: f64,
) -> anyhow::Result<Vec<Figure>> {
    env.on_stack((0, 1), async |stack| {
        let mut redis = stack.redis.connection().await?;
        let mut clients = ClientProcesses::start(env::plan(stack, sockets)).await?;
        clients.connect(CONNECT).await?;
        let (mut values, mut number) = (Vec::new(), 0);
        for _ in 0..runs {
            let before = env::used(&stack.gateways[0])?.cpu;
            for _ in 0..rounds {
                env::publish_round(&mut redis, &clients.plan, number, ("standard", 0)).await?;
                number += 1;
                env::arrived(&clients, number * sockets as u64).await?;
            }
            let cpu = env::used(&stack.gateways[0])?.cpu.saturating_sub(before);
            values.push(per_core(rounds * sockets as u64, cpu));
        }
        let stats = clients.finish(number * sockets as u64).await?;
        let lost =
            (stats.missing > 0).then(|| format!("{} notifications are missing", stats.missing));
        let name = format!("deliveries_per_core_{sockets}");
        Ok(vec![
            Figure::new(&name, "frames/s", values, Goal::RatioAtLeast(0.8))
                .with_limit(limit)
                .with_note("limit: a tokio-tungstenite loop")
                .missed_if(lost),
        ])
    })
    .await
}

async fn baseline(sockets: usize, rounds: u64, runs: usize) -> anyhow::Result<Vec<f64>> {
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
            server.send(&env::notification(&run, &user, number, ("standard", 0))).await?;
            number += 1;
            env::arrived(&clients, number * sockets as u64).await?;
        }
        let cpu = usage::of(server.id()?)?.cpu.saturating_sub(before);
        values.push(per_core(rounds * sockets as u64, cpu));
    }
    clients.finish(0).await?;
    server.stop().await?;
    Ok(values)
}

/// Frames per CPU second; the kernel counts CPU time in hundredths of a second.
fn per_core(frames: u64, cpu: Duration) -> f64 {
    float(frames) / cpu.max(Duration::from_millis(10)).as_secs_f64()
}
