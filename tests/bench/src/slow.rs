//! Whether clients that read nothing are felt by the others.

use std::time::Duration;

use harness::stack::Stack;
use load::{
    plan::Crowd,
    run::{Load, ms},
};

use crate::{
    rig::{self, Rig, float},
    row::{Goal, Row, median},
};

pub(crate) async fn measure(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let runs = rig.pick(1, 3);
    rig.on_stack((1, 1), async |stack| {
        let (mut with, mut without, mut grown, mut problems) = (vec![], vec![], 0, vec![]);
        // In turns, so that what else the machine does meets both.
        for _ in 0..runs {
            for (every, into) in [(0, &mut without), (100, &mut with)] {
                let before = rig::used(&stack.gateways[0])?.rss_kib;
                let outcome = run(rig, stack, every).await?;
                into.push(ms(outcome.latency.p99_us));
                problems.extend(outcome.problems);
                if every > 0 {
                    let after = rig::used(&stack.gateways[0])?.rss_kib;
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
async fn run(rig: &Rig, stack: &Stack, every: usize) -> anyhow::Result<load::run::Outcome> {
    let sockets = rig.pick(100, 400);
    let crowd = Crowd { stalled_every: every, ..rig::crowd(stack, sockets) };
    let lasting = Duration::from_secs(rig.pick(1, 8));
    let per_second = rig.pick(1, 20) * sockets as u64;
    Load::new(crowd, stack.kafka.client_config(), per_second, lasting).run().await
}
