//! How many clients the gateway lets in with one processor: handshake, token, subscription.

use std::time::Duration;

use anyhow::ensure;
use harness::{eventually, http, stack::Stack};
use load::{plan::ClientPlan, processes::ClientProcesses, tokens::Tokens};

use crate::{
    figure::{Goal, Row},
    setup::{self, CONNECT, Setup, float},
};

pub(crate) async fn measure(setup: &Setup) -> anyhow::Result<Vec<Row>> {
    let (sockets, runs) = setup.pick((20, 1), (2_000, 5));
    setup
        .on_stack((0, 1), async |stack| {
            let keys = [
                ("hs256", Tokens::Secret(stack.secret.clone())),
                ("rs256", Tokens::Rsa(std::fs::read_to_string(setup::rsa_key("key"))?)),
            ];
            let mut rows = Vec::new();
            for (name, tokens) in keys {
                let (mut values, mut rates) = (Vec::new(), Vec::new());
                for _ in 0..runs {
                    let plan = ClientPlan { tokens: tokens.clone(), ..setup::plan(stack, sockets) };
                    let (cpu, took) = connect(stack, plan).await?;
                    values.push(float(sockets as u64) / cpu.max(0.01));
                    rates.push(format!("{:.0}", float(sockets as u64) / took.as_secs_f64()));
                }
                let name = format!("connects_per_second_{name}");
                rows.push(Row::of(&name, "connects/s a core", values, Goal::AtLeast(5_000.0)).noted(
                format!(
                    "by the gateway's processor time; by the clock, with the clients on the same \
                     machine, {}",
                    rates.join(", ")
                ),
            ));
            }
            Ok(rows)
        })
        .await
}

/// Seconds of the gateway's processor time for everybody's connect, and how long it took.
async fn connect(stack: &Stack, plan: ClientPlan) -> anyhow::Result<(f64, Duration)> {
    let gateway = &stack.gateways[0];
    // Those of the run before have left.
    eventually("nobody is connected", CONNECT, async || {
        let open = http::metric(&gateway.metrics().await?, "websocket_active_connections");
        ensure!(open == Some(0.0), "{open:?} are");
        Ok(())
    })
    .await?;
    let mut clients = ClientProcesses::start(plan).await?;
    let before = setup::used(gateway)?.cpu;
    let took = clients.connect(CONNECT).await?;
    let cpu = setup::used(gateway)?.cpu.saturating_sub(before);
    clients.finish(0).await?;
    Ok((cpu.as_secs_f64(), took))
}
