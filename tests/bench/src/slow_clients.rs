//! Whether clients that read nothing are felt by the others.

use std::time::Duration;

use harness::stack::Stack;
use load::{
    plan::ClientPlan,
    run::{LoadTest, ms},
};

use crate::{
    figure::{Goal, Row, median},
    setup::{self, Setup, float},
};

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let runs = setup.pick(1, 3);
    setup
        .on_stack((1, 1), async |stack| {
            let (mut with, mut without, mut grown, mut problems) = (vec![], vec![], 0, vec![]);
            // In turns, so that what else the machine does meets both.
            for _ in 0..runs {
                for (every, into) in [(0, &mut without), (100, &mut with)] {
                    let before = setup::used(&stack.gateways[0])?.rss_kib;
                    let result = run(setup, stack, every).await?;
                    into.push(ms(result.latency.p99_us));
                    problems.extend(result.problems);
                    if every > 0 {
                        let after = setup::used(&stack.gateways[0])?.rss_kib;
                        grown = grown.max(after.saturating_sub(before));
                    }
                }
            }
            let limit = median(&without).unwrap_or_default();
            let problem = (!problems.is_empty()).then(|| problems.join("; "));
            Ok(vec![
                Row::of("slow_sockets", "ms p99", with, Goal::RatioAtMost(1.2))
                    .beside(limit)
                    .noted("1 % of the sockets read nothing; limit: none of them")
                    .missed_if(problem),
                Row::of("slow_sockets_memory", "KiB", vec![float(grown)], Goal::AtMost(32_768.0))
                    .noted("the most that the gateway's memory grew in such a run"),
            ])
        })
        .await
}

/// Twenty events a second for each socket.
async fn run(setup: &Setup, stack: &Stack, every: usize) -> anyhow::Result<load::run::LoadResult> {
    let sockets = setup.pick(100, 400);
    let plan = ClientPlan { stalled_every: every, ..setup::plan(stack, sockets) };
    let duration = Duration::from_secs(setup.pick(1, 8));
    let per_second = setup.pick(1, 20) * sockets as u64;
    LoadTest::new(plan, stack.kafka.client_config(), per_second, duration).run().await
}
