//! How long an immediate event takes while very many others wait in another topic.

use std::time::Duration;

use load::{
    crew::Crew,
    events::Kind,
    plan::{Crowd, Users},
    run::{Load, ms},
};
use tokio::time::sleep;

use crate::{
    rig::{self, CONNECT, Rig, float},
    row::{Goal, Row},
    worker,
};

pub(crate) async fn measure(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let (backlog, users) = rig.pick((2_000, 10), (200_000, 2_000));
    let lasting = Duration::from_millis(rig.pick(500, 1_500));
    rig.on_stack((1, 1), async |stack| {
        let mut crew = Crew::gather(rig::crowd(stack, rig.pick(5, 100))).await?;
        crew.connect(CONNECT).await?;
        let crowd = Crowd { users: Users::Numbered(users), ..rig::crowd(stack, 1) };
        worker::fill(stack, &crowd, backlog).await?;
        while worker::published(&stack.workers[0]).await? == 0.0 {
            sleep(Duration::from_millis(5)).await;
        }
        let crowd = crew.crowd.clone();
        let mut load = Load::new(crowd, stack.kafka.client_config(), 200, lasting);
        load.kind = Kind::Immediate;
        load.warm_up = Duration::ZERO;
        let outcome = load.run_with(crew).await?;
        let left = float(backlog) - worker::published(&stack.workers[0]).await?;
        let latency = outcome.latency;
        Ok(vec![
            Row::of(
                "urgent_under_backlog",
                "ms p99",
                vec![ms(latency.p99_us)],
                Goal::AtMost(100.0),
            )
            .noted(format!(
                "{} immediate events; {left:.0} of {backlog} others still waited at the end; \
                     p50 {:.1}, max {:.1}",
                latency.count,
                ms(latency.p50_us),
                ms(latency.max_us)
            ))
            .missed_if((!outcome.passed).then(|| outcome.problems.join("; ")))
            .missed_if((left <= 0.0 && !rig.quick).then(|| "the others were gone".into())),
        ])
    })
    .await
}
