//! What connections cost while nothing happens: memory and processor time of the gateway.

use std::time::Duration;

use load::processes::ClientProcesses;
use tokio::time::sleep;

use crate::{
    figure::{Goal, Row},
    setup::{self, CONNECT, Setup, float},
};

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let sockets = setup.pick(50, 15_000);
    // Two rounds of pings, which come every 25 s.
    let duration = Duration::from_secs(setup.pick(1, 50));
    setup
        .on_stack((0, 1), async |stack| {
            let gateway = &stack.gateways[0];
            let before = setup::used(gateway)?;
            let mut clients = ClientProcesses::start(setup::plan(stack, sockets)).await?;
            clients.connect(CONNECT).await?;
            // What the handshakes needed is given back by then.
            sleep(duration / 10).await;
            let begun = setup::used(gateway)?;
            sleep(duration).await;
            let end = setup::used(gateway)?;
            let stand = clients.progress();
            let stats = clients.finish(0).await?;
            let lost = (stats.disconnects > 0).then(|| format!("{} left", stats.disconnects));
            let connections = float(stand.connected);
            let kib = float(begun.rss_kib.saturating_sub(before.rss_kib)) / connections;
            let cpu = end.cpu.saturating_sub(begun.cpu).as_secs_f64() * 1e6;
            let us = cpu / connections / duration.as_secs_f64();
            Ok(vec![
                Row::of("idle_kib_per_connection", "KiB", vec![kib], Goal::AtMost(4.0))
                    .noted(format!("{sockets} connections, {} KiB without any", before.rss_kib))
                    .missed_if(lost.clone()),
                Row::of("idle_us_per_connection_second", "us", vec![us], Goal::AtMost(0.6))
                    .noted(format!("{sockets} connections for {duration:?}, pings every 25 s"))
                    .missed_if(lost),
            ])
        })
        .await
}
