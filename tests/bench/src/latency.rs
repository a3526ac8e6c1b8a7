//! Latency at increasing event rates, with all processes on one machine: on Apache Kafka, and on
//! the embedded broker, whose own latency is low.

use std::{sync::Arc, time::Duration};

use harness::{
    kafka::{JvmProfile, Kafka},
    stack::Stack,
};
use load::{
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

/// Explains missing notifications on the embedded broker.
const EMBEDDED_DROPS: &str =
    "the embedded broker keeps 5 MiB per partition and drops what a lagging worker has not fetched";

/// Goal in milliseconds.
fn goal(per_second: u64) -> Goal {
    match per_second {
        1_000 => Goal::AtMost(5.0),
        10_000 => Goal::AtMost(10.0),
        30_000 => Goal::AtMost(25.0),
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
                Ok((result, cpu)) => {
                    curve.points.push((per_second, result.latency));
                    let figure = figure(&title, per_second, &result, cpu);
                    let drops = name == "embedded" && result.missing > 0;
                    figures.push(figure.missed_if(drops.then(|| EMBEDDED_DROPS.into())));
                }
                Err(problem) => figures.push(Figure::failed(&title, &problem)),
            }
        }
        Ok(figures)
    })
    .await
}

/// Returns the result and the services' CPU time per event in microseconds.
async fn measure_rate(
    env: &Env,
    stack: &Stack,
    per_second: u64,
) -> anyhow::Result<(LoadResult, f64)> {
    let plan = env::plan(stack, env.pick(20, 2_000));
    let duration = Duration::from_secs(env.pick(1, 8));
    let mut load = LoadTest::new(plan, stack.kafka.client_config(), per_second, duration);
    load.connect_limit = CONNECT;
    let services = || stack.workers.iter().chain(&stack.gateways);
    let before = env::used_by_all(services())?.cpu;
    let result = load.run().await?;
    let cpu = env::used_by_all(services())?.cpu.saturating_sub(before);
    Ok((result.clone(), cpu.as_secs_f64() * 1e6 / float(result.sent.max(1))))
}

fn figure(title: &str, per_second: u64, result: &LoadResult, cpu: f64) -> Figure {
    let Percentiles { p50_us, p99_us, p999_us, max_us, count } = result.latency;
    let [p50, p99, p999, max] = [p50_us, p99_us, p999_us, max_us].map(ms);
    Figure::new(title, "ms p99", vec![p99], goal(per_second))
        .with_note(format!(
            "p50 {p50:.1}, p99.9 {p999:.1}, max {max:.1}, {count} notifications; {:.0} events/s achieved; \
             worker and gateway {cpu:.1} us per event; tester {:.2} processors",
            result.achieved, result.tester_cpus
        ))
        .missed_if((!result.passed).then(|| result.problems.join("; ")))
}
