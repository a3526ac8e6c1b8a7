//! How many frames the gateway writes with one processor, each to a socket of its own, beside a
//! bare loop over as many sockets.

use std::time::Duration;

use harness::usage;
use load::{crew::Crew, mark::Run, plan::Crowd, tokens::Tokens};

use crate::{
    bare::Bare,
    rig::{self, CONNECT, Rig, float},
    row::{Goal, Row, median},
};

pub(crate) async fn measure(rig: &Rig) -> anyhow::Result<Vec<Row>> {
    let sizes: &[usize] = rig.pick(&[20], &[1_000, 10_000]);
    let (runs, texts) = rig.pick((1, 40), (5, 60_000));
    let mut rows = Vec::new();
    for &sockets in sizes {
        let rounds = (texts / sockets).max(1) as u64;
        let limits = bare(sockets, rounds, runs).await?;
        let limit = median(&limits).unwrap_or_default();
        rows.extend(gateway(rig, sockets, rounds, runs, limit).await?);
    }
    Ok(rows)
}

/// Frames for each second of the gateway's processor time.
async fn gateway(
    rig: &Rig,
    sockets: usize,
    rounds: u64,
    runs: usize,
    limit: f64,
) -> anyhow::Result<Vec<Row>> {
    rig.on_stack((0, 1), async |stack| {
        let mut redis = stack.redis.connection().await?;
        let mut crew = Crew::gather(rig::crowd(stack, sockets)).await?;
        crew.connect(CONNECT).await?;
        let (mut values, mut number) = (Vec::new(), 0);
        for _ in 0..runs {
            let before = rig::used(&stack.gateways[0])?.cpu;
            for _ in 0..rounds {
                rig::publish_round(&mut redis, &crew.crowd, number, ("standard", 0)).await?;
                number += 1;
                rig::arrived(&crew, number * sockets as u64).await?;
            }
            let cpu = rig::used(&stack.gateways[0])?.cpu.saturating_sub(before);
            values.push(per_core(rounds * sockets as u64, cpu));
        }
        let tally = crew.finish(number * sockets as u64).await?;
        let lost = (tally.missing > 0).then(|| format!("{} texts are missing", tally.missing));
        let name = format!("deliveries_per_core_{sockets}");
        Ok(vec![
            Row::of(&name, "frames/s", values, Goal::RatioAtLeast(0.8))
                .beside(limit)
                .noted("limit: a bare tokio-tungstenite loop")
                .missed_if(lost),
        ])
    })
    .await
}

async fn bare(sockets: usize, rounds: u64, runs: usize) -> anyhow::Result<Vec<f64>> {
    let mut server = Bare::start().await?;
    let crowd = Crowd::of(sockets, vec![server.url.clone()], Tokens::Secret("none".into()));
    let run = Run::named(&crowd.run);
    let user = crowd.user(sockets / 2);
    let mut crew = Crew::gather(crowd).await?;
    crew.connect(CONNECT).await?;
    let (mut values, mut number) = (Vec::new(), 0);
    for _ in 0..runs {
        let before = usage::of(server.id()?)?.cpu;
        for _ in 0..rounds {
            server.send(&rig::notification(&run, &user, number, ("standard", 0))).await?;
            number += 1;
            rig::arrived(&crew, number * sockets as u64).await?;
        }
        let cpu = usage::of(server.id()?)?.cpu.saturating_sub(before);
        values.push(per_core(rounds * sockets as u64, cpu));
    }
    crew.finish(0).await?;
    server.end().await?;
    Ok(values)
}

/// The kernel counts processor time in hundredths of a second.
fn per_core(frames: u64, cpu: Duration) -> f64 {
    float(frames) / cpu.max(Duration::from_millis(10)).as_secs_f64()
}
