//! Memory and CPU time of the gateway per idle connection.

use std::time::Duration;

use load::processes::ClientProcesses;
use tokio::time::sleep;

use crate::{
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal},
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let sockets = env.pick(50, 15_000);
    // Two ping intervals of 25 s.
    let duration = Duration::from_secs(env.pick(1, 50));
    env.on_stack((0, 1), async |stack| {
        let gateway = &stack.gateways[0];
        let before = env::used(gateway)?;
        let mut clients = ClientProcesses::start(env::plan(stack, sockets)).await?;
        clients.connect(CONNECT).await?;
        // Memory of the handshakes is freed by then.
        sleep(duration / 10).await;
        let begun = env::used(gateway)?;
        sleep(duration).await;
        let end = env::used(gateway)?;
        let progress = clients.progress();
        let stats = clients.finish(0).await?;
        let lost = (stats.disconnects > 0).then(|| format!("{} disconnects", stats.disconnects));
        let connections = float(progress.connected);
        let kib = float(begun.rss_kib.saturating_sub(before.rss_kib)) / connections;
        let cpu = end.cpu.saturating_sub(begun.cpu).as_secs_f64() * 1e6;
        let us = cpu / connections / duration.as_secs_f64();
        Ok(vec![
            Figure::new("idle_kib_per_connection", "KiB", vec![kib], Goal::AtMost(3.0))
                .with_note(format!("{sockets} connections, {} KiB before", before.rss_kib))
                .missed_if(lost.clone()),
            Figure::new("idle_us_per_connection_second", "us", vec![us], Goal::AtMost(0.4))
                .with_note(format!("{sockets} connections for {duration:?}, pings every 25 s"))
                .missed_if(lost),
        ])
    })
    .await
}
