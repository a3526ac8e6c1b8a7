//! Frames per CPU second that the gateway writes, one per socket, against baseline servers with as
//! many sockets.

use std::time::Duration;

use harness::{kafka::Kafka, stack::Stack, usage};
use load::{plan::ClientPlan, processes::ClientProcesses, tag::RunId, tokens::Tokens};

use crate::{
    baseline::{Baseline, Writer},
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal, median},
};

/// Size of a measurement.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) sockets: usize,
    /// Frames to each socket per run.
    pub(crate) rounds: u64,
    pub(crate) runs: usize,
}

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let sizes: &[usize] = env.pick(&[20], &[1_000, 10_000]);
    let (runs, frames) = env.pick((1, 40), (5, 60_000));
    let mut figures = Vec::new();
    for &sockets in sizes {
        let size = Size { sockets, rounds: (frames / sockets).max(1) as u64, runs };
        let figure = |name: &str, values| {
            Figure::new(&format!("{name}_{sockets}"), "frames/s", values, Goal::Report)
        };
        let send = baseline(size, Writer::Send, 1).await?;
        let one_thread = baseline(size, Writer::Tungstenite, 1).await?;
        let two_threads = baseline(size, Writer::Tungstenite, 2).await?;
        let limit = median(&one_thread).unwrap_or_default();
        let raw_limit = median(&send).unwrap_or_default();
        figures.extend([
            figure("baseline_send", send).with_note("one send of a prepared frame per socket"),
            figure("baseline_loop_1_thread", one_thread)
                .with_limit(raw_limit)
                .with_note("a tokio-tungstenite loop; limit: send"),
            figure("baseline_loop_2_threads", two_threads)
                .with_limit(raw_limit)
                .with_note("half of the sockets on each thread; limit: send"),
        ]);
        let one_per_gateway = || vec![("TOKIO_WORKER_THREADS", "1".to_owned())];
        for (name, goal, gateways, settings, threads) in [
            ("deliveries_per_core", Goal::RatioAtLeast(0.8), 1, Vec::new(), "one per processor"),
            ("deliveries_per_core_1_thread", Goal::Report, 1, one_per_gateway(), "one"),
            (
                "deliveries_per_core_2_gateways",
                Goal::Report,
                2,
                one_per_gateway(),
                "one in each of two gateways, which share nothing",
            ),
        ] {
            let (values, missing) = gateway(env, size, gateways, settings).await?;
            figures.push(
                Figure::new(&format!("{name}_{sockets}"), "frames/s", values, goal)
                    .with_limit(limit)
                    .with_note(format!("threads: {threads}; limit: the loop on one thread"))
                    .missed_if((missing > 0).then(|| format!("{missing} notifications missing"))),
            );
        }
    }
    Ok(figures)
}

/// Returns frames per second of the gateways' CPU time for each run, and lost notifications.
async fn gateway(
    env: &Env,
    size: Size,
    gateways: usize,
    settings: Vec<(&'static str, String)>,
) -> anyhow::Result<(Vec<f64>, u64)> {
    let kafka = Kafka::start_embedded().await?;
    env.on_stack_of(kafka, (0, gateways), settings, async |stack| {
        let (times, missing) = deliver(stack, size).await?;
        let frames = size.rounds * size.sockets as u64;
        Ok((times.into_iter().map(|cpu| per_cpu_second(frames, cpu)).collect(), missing))
    })
    .await
}

/// Publishes notifications to users with one socket each. Returns the CPU time of all gateways for
/// each run, and lost notifications.
pub(crate) async fn deliver(
    stack: &Stack,
    Size { sockets, rounds, runs }: Size,
) -> anyhow::Result<(Vec<Duration>, u64)> {
    let mut redis = stack.redis.connection().await?;
    let mut clients = ClientProcesses::start(env::plan(stack, sockets)).await?;
    clients.connect(CONNECT).await?;
    let (mut times, mut number) = (Vec::new(), 0);
    for _ in 0..runs {
        let before = env::used_by_all(&stack.gateways)?.cpu;
        for _ in 0..rounds {
            env::publish_round(&mut redis, &clients.plan, number, ("standard", 0)).await?;
            number += 1;
            env::arrived(&clients, number * sockets as u64).await?;
        }
        times.push(env::used_by_all(&stack.gateways)?.cpu.saturating_sub(before));
    }
    let stats = clients.finish(number * sockets as u64).await?;
    Ok((times, stats.missing))
}

/// Returns frames per second of the baseline server's CPU time for each run.
async fn baseline(
    Size { sockets, rounds, runs }: Size,
    writer: Writer,
    threads: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut server = Baseline::start(writer, threads).await?;
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
        values.push(per_cpu_second(rounds * sockets as u64, cpu));
    }
    clients.finish(0).await?;
    server.stop().await?;
    Ok(values)
}

/// Returns frames per second of CPU time, which the kernel counts in hundredths of a second.
pub(crate) fn per_cpu_second(frames: u64, cpu: Duration) -> f64 {
    float(frames) / cpu.max(Duration::from_millis(10)).as_secs_f64()
}
