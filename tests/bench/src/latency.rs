//! Latency against load, rung by rung, everything on this machine: on Apache Kafka, and on the
//! embedded broker, which shows what of it is the broker's.

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
    figure::{Goal, Row},
    plot::{self, Curve},
    setup::{self, CONNECT, Setup, float},
};

const RUNGS: [u64; 8] = [500, 1_000, 5_000, 10_000, 20_000, 30_000, 40_000, 60_000];

/// Where what is missing may have gone.
const EMBEDDED_DROPS: &str =
    "this broker keeps 5 MiB a partition and drops what a worker that is behind has not fetched";

/// What is aimed at, in milliseconds.
fn goal(per_second: u64) -> Goal {
    match per_second {
        1_000 => Goal::AtMost(5.0),
        10_000 => Goal::AtMost(10.0),
        30_000 => Goal::AtMost(25.0),
        _ => Goal::Report,
    }
}

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let (mut rows, mut curves) = (Vec::new(), Vec::new());
    for broker in setup.pick(&["embedded"][..], &["apache", "embedded"]) {
        let mut curve = Curve { name: broker, points: Vec::new() };
        match rungs(setup, broker, &mut curve).await {
            Ok(climbed) => rows.extend(climbed),
            Err(problem) => rows.push(Row::failed(&format!("latency_{broker}"), &problem)),
        }
        curves.push(curve);
    }
    plot::write(&curves)?;
    Ok(rows)
}

async fn broker(name: &str) -> anyhow::Result<Arc<Kafka>> {
    if name == "apache" {
        Kafka::start_apache(JvmProfile::LowPause).await
    } else {
        Kafka::start_embedded().await
    }
}

async fn rungs(setup: &Setup, name: &str, curve: &mut Curve) -> anyhow::Result<Vec<Row>> {
    let rates = setup.pick(&[50, 100][..], &RUNGS);
    setup
        .on_stack_of(broker(name).await?, (1, 1), async |stack| {
            let mut rows = Vec::new();
            for &per_second in rates {
                let title = format!("latency_{name}_{per_second}");
                match rung(setup, stack, per_second).await {
                    Ok((result, cpu)) => {
                        curve.points.push((per_second, result.latency));
                        let row = row(&title, per_second, &result, cpu);
                        let drops = name == "embedded" && result.missing > 0;
                        rows.push(row.missed_if(drops.then(|| EMBEDDED_DROPS.into())));
                    }
                    Err(problem) => rows.push(Row::failed(&title, &problem)),
                }
            }
            Ok(rows)
        })
        .await
}

/// What came of it, and the services' processor time for an event in microseconds.
async fn rung(setup: &Setup, stack: &Stack, per_second: u64) -> anyhow::Result<(LoadResult, f64)> {
    let plan = setup::plan(stack, setup.pick(20, 2_000));
    let duration = Duration::from_secs(setup.pick(1, 8));
    let mut load = LoadTest::new(plan, stack.kafka.client_config(), per_second, duration);
    load.connect_limit = CONNECT;
    let services = || stack.workers.iter().chain(&stack.gateways);
    let before = setup::used_by_all(services())?.cpu;
    let result = load.run().await?;
    let cpu = setup::used_by_all(services())?.cpu.saturating_sub(before);
    Ok((result.clone(), cpu.as_secs_f64() * 1e6 / float(result.sent.max(1))))
}

fn row(title: &str, per_second: u64, result: &LoadResult, cpu: f64) -> Row {
    let Percentiles { p50_us, p99_us, p999_us, max_us, count } = result.latency;
    let [p50, p99, p999, max] = [p50_us, p99_us, p999_us, max_us].map(ms);
    Row::of(title, "ms p99", vec![p99], goal(per_second))
        .noted(format!(
            "p50 {p50:.1}, p99.9 {p999:.1}, max {max:.1}, {count} texts; {:.0} events/s done; \
             worker and gateway {cpu:.1} us an event; tester {:.2} processors",
            result.achieved, result.tester_cpus
        ))
        .missed_if((!result.passed).then(|| result.problems.join("; ")))
}
