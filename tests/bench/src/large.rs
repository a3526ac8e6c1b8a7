//! A hundred thousand connections over several gateways on one machine.

use std::time::Duration;

use load::{
    processes::ClientProcesses,
    run::{LoadTest, ms},
};

use crate::{
    figure::{Goal, Row},
    setup::{self, CONNECT, Setup, float},
};

/// A gateway may have 20,000 files open where we measure.
const MOST_FOR_GATEWAY: usize = 14_500;

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let sockets: usize = setup.pick(60, 100_000);
    let gateways = setup.pick(2, sockets.div_ceil(MOST_FOR_GATEWAY));
    setup
        .on_stack((1, gateways), async |stack| {
            let plan = setup::plan(stack, sockets);
            let mut clients = ClientProcesses::start(plan.clone()).await?;
            let took = clients.connect(CONNECT * 2).await?;
            let services = || stack.workers.iter().chain(&stack.gateways);
            let idle = setup::used_by_all(services())?.rss_kib;
            let duration = Duration::from_secs(setup.pick(1, 20));
            let per_second = setup.pick(60, 1_000);
            let load = LoadTest::new(plan, stack.kafka.client_config(), per_second, duration);
            let result = load.run_with(clients).await?;
            let busy = setup::used_by_all(services())?.rss_kib;
            let latency = result.latency;
            let problem = (!result.passed).then(|| result.problems.join("; "));
            Ok(vec![
            Row::of("100k_latency", "ms p99", vec![ms(latency.p99_us)], Goal::Report)
                .noted(format!(
                    "{sockets} connections over {gateways} gateways, {per_second} events/s; p50 \
                     {:.1}, max {:.1}; connected in {took:.0?}; {} of {} texts received",
                    ms(latency.p50_us),
                    ms(latency.max_us),
                    result.received,
                    result.expected
                ))
                .missed_if(problem),
            Row::of("100k_memory", "MiB", vec![float(busy) / 1_024.0], Goal::Report).noted(
                format!("all services; {:.0} MiB before the first event", float(idle) / 1_024.0),
            ),
        ])
        })
        .await
}
