//! Time until all clients of a killed gateway have resumed at another one.

use std::time::Duration;

use anyhow::ensure;
use load::{
    events::Kind,
    messages::Progress,
    plan::ClientPlan,
    processes::ClientProcesses,
    run::ms,
    schedule::{Schedule, SendProgress},
};

use crate::{
    env::{self, ARRIVE, CONNECT, Env},
    figure::{Figure, Goal},
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let sockets = env.pick(40, 15_000);
    env.on_stack((1, 2), async |stack| {
        let plan = ClientPlan {
            reconnect: true,
            start_at_first_gateway: true,
            ..env::plan(stack, sockets)
        };
        let mut clients = ClientProcesses::start(plan.clone()).await?;
        clients.connect(CONNECT).await?;
        let all = sockets as u64;
        // One event per user for a position to resume from, and one per user afterwards.
        let schedule = Schedule::new(&plan, Kind::File, env.pick(200, 5_000), 2 * all);
        let (kafka, progress) = (stack.kafka.client_config(), SendProgress::default());
        let shared = progress.clone();
        let sending = tokio::task::spawn_blocking(move || schedule.send(&kafka, &shared));
        clients.wait_until("one event per user arrives", ARRIVE, |now| now.received >= all).await?;
        stack.gateways[0].kill().await?;
        let limit = Duration::from_mins(1);
        // A few clients are back before the next look: then the last events have arrived.
        let is_disconnected = |now: &Progress| now.connected < all || now.received >= 2 * all;
        clients.wait_until("clients are disconnected", limit, is_disconnected).await?;
        let took = clients
            .wait_until("all clients have reconnected", limit, |now| now.connected == all)
            .await?;
        let sent = sending.await??.events;
        env::arrived(&clients, 2 * all).await?;
        let stats = clients.finish(sent).await?;
        stack.gateways[0].restart().await?;
        ensure!(stats.disconnects >= all, "only {} clients were disconnected", stats.disconnects);
        let returns = stats.reconnects.percentiles();
        let wrong = stats.missing + stats.duplicates + stats.out_of_order;
        Ok(vec![
            Figure::new("reconnect", "s p99", vec![ms(returns.p99_us) / 1e3], Goal::AtMost(5.0))
                .with_note(format!(
                    "{sockets} clients at once while events are sent; the last after {:.1} s, \
                     all within {took:.1?}; {} failed attempts",
                    ms(returns.max_us) / 1e3,
                    stats.refused
                ))
                .missed_if(
                    (wrong > 0)
                        .then(|| format!("{wrong} notifications missing, duplicated or reordered")),
                ),
        ])
    })
    .await
}
