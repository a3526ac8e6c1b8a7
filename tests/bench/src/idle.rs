//! What connections cost while nothing happens: memory and processor time of the gateway.

use std::time::Duration;

use load::crew::Crew;
use tokio::time::sleep;

use crate::{
    rig::{self, CONNECT, Rig, float},
    row::{Goal, Row},
};

pub(crate) async fn measure(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let sockets = rig.pick(50, 15_000);
    // Two rounds of pings, which come every 25 s.
    let lasting = Duration::from_secs(rig.pick(1, 50));
    rig.on_stack((0, 1), async |stack| {
        let gateway = &stack.gateways[0];
        let before = rig::used(gateway)?;
        let mut crew = Crew::gather(rig::crowd(stack, sockets)).await?;
        crew.connect(CONNECT).await?;
        // What the handshakes needed is given back by then.
        sleep(lasting / 10).await;
        let begun = rig::used(gateway)?;
        sleep(lasting).await;
        let end = rig::used(gateway)?;
        let stand = crew.progress();
        let tally = crew.finish(0).await?;
        let lost = (tally.disconnects > 0).then(|| format!("{} left", tally.disconnects));
        let connections = float(stand.connected);
        let kib = float(begun.rss_kib.saturating_sub(before.rss_kib)) / connections;
        let cpu = end.cpu.saturating_sub(begun.cpu).as_secs_f64() * 1e6;
        let us = cpu / connections / lasting.as_secs_f64();
        Ok(vec![
            Row::of("idle_kib_per_connection", "KiB", vec![kib], Goal::AtMost(4.0))
                .noted(format!("{sockets} connections, {} KiB without any", before.rss_kib))
                .missed_if(lost.clone()),
            Row::of("idle_us_per_connection_second", "us", vec![us], Goal::AtMost(0.6))
                .noted(format!("{sockets} connections for {lasting:?}, pings every 25 s"))
                .missed_if(lost),
        ])
    })
    .await
}
