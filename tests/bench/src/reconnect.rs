//! How long it takes until all clients of a gateway that was killed are live again at another.

use std::time::Duration;

use anyhow::ensure;
use load::{
    events::Kind,
    plan::ClientPlan,
    processes::ClientProcesses,
    run::ms,
    schedule::{Schedule, SendProgress},
};

use crate::{
    figure::{Goal, Row},
    setup::{self, ARRIVE, CONNECT, Setup},
};

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let sockets = setup.pick(40, 15_000);
    setup
        .on_stack((1, 2), async |stack| {
            let plan = ClientPlan {
                reconnect: true,
                start_at_first_gateway: true,
                ..setup::plan(stack, sockets)
            };
            let mut clients = ClientProcesses::start(plan.clone()).await?;
            clients.connect(CONNECT).await?;
            let all = sockets as u64;
            // One event each, so that everybody has a position to go on from; and one each afterwards.
            let schedule = Schedule::new(&plan, Kind::File, setup.pick(200, 5_000), 2 * all);
            let (kafka, progress) = (stack.kafka.client_config(), SendProgress::default());
            let shared = progress.clone();
            let sending = tokio::task::spawn_blocking(move || schedule.send(&kafka, &shared));
            clients.wait_until("an event each", ARRIVE, |now| now.received >= all).await?;
            stack.gateways[0].kill().await?;
            let limit = Duration::from_mins(1);
            clients.wait_until("everybody has noticed", limit, |now| now.connected < all).await?;
            let took =
                clients.wait_until("all are back", limit, |now| now.connected == all).await?;
            let sent = sending.await??;
            setup::arrived(&clients, 2 * all).await?;
            let stats = clients.finish(sent.events).await?;
            stack.gateways[0].restart().await?;
            ensure!(stats.disconnects >= all, "only {} had to come back", stats.disconnects);
            let returns = stats.reconnects.percentiles();
            let wrong = stats.missing + stats.duplicates + stats.out_of_order;
            Ok(vec![
                Row::of("comeback", "s p99", vec![ms(returns.p99_us) / 1e3], Goal::AtMost(5.0))
                    .noted(format!(
                        "{sockets} clients at once, with events under way; the last after {:.1} s, \
                     all by {took:.1?}; {} attempts failed",
                        ms(returns.max_us) / 1e3,
                        stats.refused
                    ))
                    .missed_if(
                        (wrong > 0).then(|| format!("{wrong} texts missing, twice or late")),
                    ),
            ])
        })
        .await
}
