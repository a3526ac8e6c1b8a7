//! Latency of immediate events while another topic has a backlog.

use std::time::Duration;

use load::{
    events::Kind,
    plan::{ClientPlan, Users},
    processes::ClientProcesses,
    run::{LoadTest, ms},
};
use tokio::time::sleep;

use crate::{
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal},
    worker,
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (backlog, users) = env.pick((2_000, 10), (200_000, 2_000));
    let duration = Duration::from_millis(env.pick(500, 1_500));
    env.on_stack((1, 1), async |stack| {
        let mut clients = ClientProcesses::start(env::plan(stack, env.pick(5, 100))).await?;
        clients.connect(CONNECT).await?;
        let plan = ClientPlan { users: Users::Numbered(users), ..env::plan(stack, 1) };
        worker::fill(stack, &plan, backlog).await?;
        while worker::published(&stack.workers[0]).await? == 0.0 {
            sleep(Duration::from_millis(5)).await;
        }
        let plan = clients.plan.clone();
        let mut load = LoadTest::new(plan, stack.kafka.client_config(), 200, duration);
        load.kind = Kind::Immediate;
        load.warm_up = Duration::ZERO;
        let result = load.run_with(clients).await?;
        let left = float(backlog) - worker::published(&stack.workers[0]).await?;
        let latency = result.latency;
        Ok(vec![
            Figure::new(
                "immediate_under_backlog",
                "ms p99",
                vec![ms(latency.p99_us)],
                Goal::AtMost(100.0),
            )
            .with_note(format!(
                "{} immediate events; {left:.0} of {backlog} events left in the backlog at the end; \
                     p50 {:.1}, max {:.1}",
                latency.count,
                ms(latency.p50_us),
                ms(latency.max_us)
            ))
            .missed_if((!result.passed).then(|| result.problems.join("; ")))
            .missed_if((left <= 0.0 && !env.quick).then(|| "the backlog was empty before the end".into())),
        ])
    })
    .await
}
