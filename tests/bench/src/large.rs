//! 100,000 connections over several gateways on one machine.

use std::time::Duration;

use load::{
    processes::ClientProcesses,
    run::{LoadTest, ms},
};

use crate::{
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal},
};

/// Connections per gateway; a limit of 20,000 open files is common.
const CONNECTIONS_PER_GATEWAY: usize = 14_500;

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let sockets: usize = env.pick(60, 100_000);
    let gateways = env.pick(2, sockets.div_ceil(CONNECTIONS_PER_GATEWAY));
    env.on_stack((1, gateways), async |stack| {
        let plan = env::plan(stack, sockets);
        let mut clients = ClientProcesses::start(plan.clone()).await?;
        let took = clients.connect(CONNECT * 2).await?;
        let services = || stack.workers.iter().chain(&stack.gateways);
        let idle = env::used_by_all(services())?.rss_kib;
        let duration = Duration::from_secs(env.pick(1, 20));
        let per_second = env.pick(60, 1_000);
        let load = LoadTest::new(plan, stack.kafka.client_config(), per_second, duration);
        let result = load.run_with(clients).await?;
        let busy = env::used_by_all(services())?.rss_kib;
        let latency = result.latency;
        let problem = (!result.passed).then(|| result.problems.join("; "));
        Ok(vec![
            Figure::new("100k_latency", "ms p99", vec![ms(latency.p99_us)], Goal::Report)
                .with_note(format!(
                    "{sockets} connections over {gateways} gateways, {per_second} events/s; p50 \
                     {:.1}, max {:.1}; connected in {took:.0?}; {} of {} notifications received",
                    ms(latency.p50_us),
                    ms(latency.max_us),
                    result.received,
                    result.expected
                ))
                .missed_if(problem),
            Figure::new("100k_memory", "MiB", vec![float(busy) / 1_024.0], Goal::Report).with_note(
                format!("all services; {:.0} MiB before the first event", float(idle) / 1_024.0),
            ),
        ])
    })
    .await
}
