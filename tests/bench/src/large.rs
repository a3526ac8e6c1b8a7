//! A hundred thousand connections over several gateways on one machine.

use std::time::Duration;

use load::{
    crew::Crew,
    run::{Load, ms},
};

use crate::{
    rig::{self, CONNECT, Rig, float},
    row::{Goal, Row},
};

/// A gateway may have 20,000 files open where we measure.
const MOST_FOR_GATEWAY: usize = 14_500;

pub(crate) async fn measure(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let sockets: usize = rig.pick(60, 100_000);
    let gateways = rig.pick(2, sockets.div_ceil(MOST_FOR_GATEWAY));
    rig.on_stack((1, gateways), async |stack| {
        let crowd = rig::crowd(stack, sockets);
        let mut crew = Crew::gather(crowd.clone()).await?;
        let took = crew.connect(CONNECT * 2).await?;
        let services = || stack.workers.iter().chain(&stack.gateways);
        let idle = rig::used_by_all(services())?.rss_kib;
        let lasting = Duration::from_secs(rig.pick(1, 20));
        let per_second = rig.pick(60, 1_000);
        let load = Load::new(crowd, stack.kafka.client_config(), per_second, lasting);
        let outcome = load.run_with(crew).await?;
        let busy = rig::used_by_all(services())?.rss_kib;
        let latency = outcome.latency;
        let problem = (!outcome.passed).then(|| outcome.problems.join("; "));
        Ok(vec![
            Row::of("100k_latency", "ms p99", vec![ms(latency.p99_us)], Goal::Report)
                .noted(format!(
                    "{sockets} connections over {gateways} gateways, {per_second} events/s; p50 \
                     {:.1}, max {:.1}; connected in {took:.0?}; {} of {} texts received",
                    ms(latency.p50_us),
                    ms(latency.max_us),
                    outcome.received,
                    outcome.expected
                ))
                .missed_if(problem),
            Row::of("100k_memory", "MiB", vec![float(busy) / 1_024.0], Goal::Report).noted(
                format!("all services; {:.0} MiB before the first event", float(idle) / 1_024.0),
            ),
        ])
    })
    .await
}
