//! Growth of memory while clients connect and disconnect for a long time.

use std::time::Duration;

use harness::stack::Stack;
use load::{
    plan::ClientPlan,
    run::{LoadTest, ms},
};
use tokio::time::{Instant, interval};

use crate::{
    env::{self, Env, float},
    figure::{Figure, Goal, median},
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let duration = Duration::from_secs(env.pick(2, 600));
    env.on_stack((1, 1), async |stack| {
        let session_ms = env.pick(500, 30_000);
        let plan = ClientPlan { session_ms, ..env::plan(stack, env.pick(20, 2_000)) };
        let per_second = env.pick(50, 5_000);
        let load = LoadTest::new(plan, stack.kafka.client_config(), per_second, duration);
        let mut samples = Vec::new();
        let result = tokio::select! {
            result = load.run() => result?,
            problem = sample(stack, duration / 60, &mut samples) => return Err(problem),
        };
        let growths = growths(&samples);
        let latency = result.latency;
        let note = format!(
            "{duration:?} at {per_second} events/s, sessions of {} s; resident MiB from the second \
             fifth to the last: worker {}, gateway {}; p99 {:.1} ms, max {:.1}",
            float(session_ms) / 1e3,
            growths[0],
            growths[1],
            ms(latency.p99_us),
            ms(latency.max_us)
        );
        let most = growths.iter().map(|growth| growth.per_cent).fold(f64::MIN, f64::max);
        Ok(vec![
            Figure::new("soak_growth", "%", vec![most], Goal::AtMost(5.0))
                .with_note(note)
                .missed_if((!result.passed).then(|| result.problems.join("; "))),
        ])
    })
    .await
}

/// Samples the memory of worker and gateway until it is cancelled; returns only on an error.
async fn sample(stack: &Stack, every: Duration, samples: &mut Vec<[f64; 2]>) -> anyhow::Error {
    let mut ticks = interval(every);
    let begun = Instant::now();
    loop {
        ticks.tick().await;
        let used = [&stack.workers[0], &stack.gateways[0]].map(env::used);
        match used {
            [Ok(worker), Ok(gateway)] => {
                samples.push([worker, gateway].map(|used| float(used.rss_kib) / 1_024.0));
            }
            [Err(problem), _] | [_, Err(problem)] => {
                return problem.context(format!("after {:?}", begun.elapsed()));
            }
        }
    }
}

struct Growth {
    from: f64,
    to: f64,
    per_cent: f64,
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} to {:.1}", self.from, self.to)
    }
}

/// Returns the growth of each service from the second fifth, when all clients are connected, to the
/// last.
fn growths(samples: &[[f64; 2]]) -> [Growth; 2] {
    let fifth = (samples.len() / 5).max(1);
    let part = |fifths: usize, service: usize| {
        let samples = samples.iter().skip(fifths * fifth).take(fifth);
        median(&samples.map(|sample| sample[service]).collect::<Vec<_>>()).unwrap_or_default()
    };
    [0, 1].map(|service| {
        let (from, to) = (part(1, service), part(4, service));
        Growth { from, to, per_cent: (to / from.max(f64::EPSILON) - 1.0) * 100.0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_at_the_start_is_ignored() {
        let sample = |at: u32| if at < 20 { [1.0, 1.0] } else { [100.0, 100.0 + f64::from(at)] };
        let samples: Vec<_> = (0..100).map(sample).collect();
        let [flat, growing] = growths(&samples);
        assert!(flat.per_cent.abs() < 0.1 && growing.per_cent > 40.0);
    }
}
