//! Effect of clients that stop reading on the latency of others.

use std::time::Duration;

use harness::stack::Stack;
use load::{
    plan::ClientPlan,
    run::{LoadTest, ms},
};

use crate::{
    env::{self, Env, float},
    figure::{Figure, Goal, median},
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let runs = env.pick(1, 3);
    env.on_stack((1, 1), async |stack| {
        let (mut with, mut without, mut grown, mut problems) = (vec![], vec![], 0, vec![]);
        // Alternating, so that other load of the machine affects both.
        for _ in 0..runs {
            for (every, into) in [(0, &mut without), (100, &mut with)] {
                let before = env::used(&stack.gateways[0])?.rss_kib;
                let result = run(env, stack, every).await?;
                into.push(ms(result.latency.p99_us));
                problems.extend(result.problems);
                if every > 0 {
                    let after = env::used(&stack.gateways[0])?.rss_kib;
                    grown = grown.max(after.saturating_sub(before));
                }
            }
        }
        let limit = median(&without).unwrap_or_default();
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        Ok(vec![
            Figure::new("slow_clients", "ms p99", with, Goal::RatioAtMost(1.2))
                .with_limit(limit)
                .with_note("1 % of the clients stop reading; limit: none do")
                .missed_if(problem),
            Figure::new("slow_clients_memory", "KiB", vec![float(grown)], Goal::AtMost(32_768.0))
                .with_note("largest growth of the gateway's memory in a run"),
        ])
    })
    .await
}

/// Sends 20 events per second and socket.
async fn run(env: &Env, stack: &Stack, every: usize) -> anyhow::Result<load::run::LoadResult> {
    let sockets = env.pick(100, 400);
    let plan = ClientPlan { stalled_every: every, ..env::plan(stack, sockets) };
    let duration = Duration::from_secs(env.pick(1, 8));
    let per_second = env.pick(1, 20) * sockets as u64;
    LoadTest::new(plan, stack.kafka.client_config(), per_second, duration).run().await
}
