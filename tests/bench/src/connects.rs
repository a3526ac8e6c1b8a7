//! Connects per second and core: handshake, token check and subscription.

use std::time::Duration;

use anyhow::ensure;
use harness::{eventually, http, stack::Stack};
use load::{plan::ClientPlan, processes::ClientProcesses, tokens::Tokens};

use crate::{
    env::{self, CONNECT, Env, float},
    figure::{Figure, Goal},
};

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (sockets, runs) = env.pick((20, 1), (2_000, 5));
    env.on_stack((0, 1), async |stack| {
        let keys = [
            ("hs256", Tokens::Secret(stack.secret.clone())),
            ("rs256", Tokens::Rsa(std::fs::read_to_string(env::rsa_key("key"))?)),
        ];
        let mut figures = Vec::new();
        for (name, tokens) in keys {
            let (mut values, mut rates) = (Vec::new(), Vec::new());
            for _ in 0..runs {
                let plan = ClientPlan { tokens: tokens.clone(), ..env::plan(stack, sockets) };
                let (cpu, took) = connect(stack, plan).await?;
                values.push(float(sockets as u64) / cpu.max(0.01));
                rates.push(format!("{:.0}", float(sockets as u64) / took.as_secs_f64()));
            }
            let name = format!("connects_per_second_{name}");
            figures.push(Figure::new(&name, "connects/s per core", values, Goal::AtLeast(5_000.0)).with_note(
                format!(
                    "per second of the gateway's CPU time; per second of wall time, with the clients \
                     on the same machine: {}",
                    rates.join(", ")
                ),
            ));
        }
        Ok(figures)
    })
    .await
}

/// Returns the gateway's CPU seconds and the wall time for connecting all clients.
async fn connect(stack: &Stack, plan: ClientPlan) -> anyhow::Result<(f64, Duration)> {
    let gateway = &stack.gateways[0];
    eventually("the clients of the previous run are disconnected", CONNECT, async || {
        let open = http::metric(&gateway.metrics().await?, "websocket_active_connections");
        ensure!(open == Some(0.0), "{open:?} are connected");
        Ok(())
    })
    .await?;
    let mut clients = ClientProcesses::start(plan).await?;
    let before = env::used(gateway)?.cpu;
    let took = clients.connect(CONNECT).await?;
    let cpu = env::used(gateway)?.cpu.saturating_sub(before);
    clients.finish(0).await?;
    Ok((cpu.as_secs_f64(), took))
}
