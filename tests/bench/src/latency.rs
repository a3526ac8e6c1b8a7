//! Latency at increasing event rates, with all processes on one machine: on Apache Kafka, with the
//! pauses of its garbage collector, and on the embedded broker, whose own latency is low.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use harness::{
    kafka::{JvmProfile, Kafka},
    stack::Stack,
};
use load::{
    processes::ClientProcesses,
    run::{LoadResult, LoadTest, ms},
    stats::Percentiles,
};

use crate::{
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal},
    plot::{self, Curve},
};

/// Events per second.
const RATES: [u64; 8] = [500, 1_000, 5_000, 10_000, 20_000, 30_000, 40_000, 60_000];

/// Rates at which a few pauses decide the highest latencies; above, the processors are saturated.
const RATES_WITH_PAUSES: RangeInclusive<u64> = 1_000..=10_000;

/// Explains missing notifications on the embedded broker.
const EMBEDDED_DROPS: &str =
    "the embedded broker keeps 5 MiB per partition and drops what a lagging worker has not fetched";

/// What was measured at one rate.
struct Measured {
    result: LoadResult,
    /// The broker's pauses for garbage collection; none if it has no log of them.
    pauses: Option<Vec<Duration>>,
    /// CPU time of the worker per event, in microseconds.
    worker_us: f64,
    /// CPU time of the gateway per event, in microseconds.
    gateway_us: f64,
}

/// Goal in milliseconds.
fn goal(broker: &str, per_second: u64) -> Goal {
    match (broker, per_second) {
        ("embedded", 1_000) => Goal::AtMost(3.0),
        ("apache", 1_000) | ("embedded", 10_000) => Goal::AtMost(5.0),
        ("apache", 5_000) => Goal::AtMost(8.0),
        ("apache", 10_000) => Goal::AtMost(15.0),
        ("embedded", 30_000) => Goal::AtMost(25.0),
        _ => Goal::Report,
    }
}

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mut curves) = (Vec::new(), Vec::new());
    for broker in env.pick(&["embedded"][..], &["apache", "embedded"]) {
        let mut curve = Curve { name: broker, points: Vec::new() };
        match measure_rates(env, broker, &mut curve).await {
            Ok(climbed) => figures.extend(climbed),
            Err(problem) => figures.push(Figure::failed(&format!("latency_{broker}"), &problem)),
        }
        curves.push(curve);
    }
    plot::write(&curves)?;
    Ok(figures)
}

async fn broker(name: &str) -> anyhow::Result<Arc<Kafka>> {
    if name == "apache" {
        Kafka::start_apache(JvmProfile::LowPause).await
    } else {
        Kafka::start_embedded().await
    }
}

async fn measure_rates(env: &Env, name: &str, curve: &mut Curve) -> anyhow::Result<Vec<Figure>> {
    let rates = env.pick(&[50, 100][..], &RATES);
    env.on_stack_of(broker(name).await?, (1, 1), Vec::new(), async |stack| {
        let mut figures = Vec::new();
        for &per_second in rates {
            let title = format!("latency_{name}_{per_second}");
            match measure_rate(env, stack, per_second).await {
                Ok(measured) => {
                    curve.points.push((per_second, measured.result.latency));
                    let figure = latency(&title, goal(name, per_second), &measured);
                    let drops = name == "embedded" && measured.result.missing > 0;
                    figures.push(figure.missed_if(drops.then(|| EMBEDDED_DROPS.into())));
                    if RATES_WITH_PAUSES.contains(&per_second) {
                        figures.extend(pauses(&title, &measured));
                    }
                }
                Err(problem) => figures.push(Figure::failed(&title, &problem)),
            }
        }
        Ok(figures)
    })
    .await
}

async fn measure_rate(env: &Env, stack: &Stack, per_second: u64) -> anyhow::Result<Measured> {
    let plan = env::plan(stack, env.pick(20, 2_000));
    let duration = Duration::from_secs(env.pick(1, 8));
    let mut clients = ClientProcesses::start(plan.clone()).await?;
    clients.connect(CONNECT).await?;
    let load = LoadTest::new(plan, stack.kafka.client_config(), per_second, duration);
    let services = [&stack.workers, &stack.gateways];
    let cpu = || services.map(env::used_by_all);
    let earlier = stack.kafka.gc_pauses()?.unwrap_or_default().len();
    let [worker, gateway] = cpu();
    let (worker, gateway) = (worker?.cpu, gateway?.cpu);
    let result = load.run_with(clients).await?;
    let [worker_end, gateway_end] = cpu();
    let pauses = stack.kafka.gc_pauses()?.map(|pauses| pauses[earlier..].to_vec());
    let per_event = |cpu: Duration| cpu.as_secs_f64() * 1e6 / float(result.sent.max(1));
    let worker_us = per_event(worker_end?.cpu.saturating_sub(worker));
    let gateway_us = per_event(gateway_end?.cpu.saturating_sub(gateway));
    Ok(Measured { result, pauses, worker_us, gateway_us })
}

fn latency(title: &str, goal: Goal, measured: &Measured) -> Figure {
    let Measured { result, worker_us, gateway_us, .. } = measured;
    let Percentiles { p50_us, p99_us, p999_us, max_us, count } = result.latency;
    let [p50, p99, p999, max] = [p50_us, p99_us, p999_us, max_us].map(ms);
    Figure::new(title, "ms p99", vec![p99], goal)
        .with_note(format!(
            "p50 {p50:.1}, p99.9 {p999:.1}, max {max:.1}, {count} notifications; {:.0} events/s \
             achieved; worker {worker_us:.1} us and gateway {gateway_us:.1} us per event; tester \
             {:.2} processors",
            result.achieved, result.tester_cpus
        ))
        .missed_if((!result.passed).then(|| result.problems.join("; ")))
}

/// Returns the longest pause of the broker. Events that are due in a pause are late by what is left
/// of it: if pauses take more than 1 % of the time, they decide the p99.
fn pauses(title: &str, Measured { result, pauses, .. }: &Measured) -> Option<Figure> {
    let pauses = pauses.as_ref()?;
    let millis = |pause: Duration| pause.as_secs_f64() * 1e3;
    let longest = pauses.iter().copied().max().unwrap_or_default();
    let (sum, took) = (pauses.iter().sum(), float(result.sent) / result.achieved);
    let figure = Figure::new(
        &format!("{title}_broker_pauses"),
        "ms longest",
        vec![millis(longest)],
        Goal::Report,
    );
    Some(figure.with_note(format!(
        "the broker's garbage collection: {} pauses, {:.0} ms in all, {:.1} % of the time",
        pauses.len(),
        millis(sum),
        millis(sum) / took / 10.0
    )))
}
