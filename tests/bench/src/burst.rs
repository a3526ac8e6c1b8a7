//! Frames per CPU second that the gateway writes when each user is sent a burst of notifications,
//! against single ones.

use std::ops::Range;

use harness::stack::Stack;
use load::processes::ClientProcesses;

use crate::{
    deliveries::per_cpu_second,
    env::{self, CONNECT, Env},
    figure::{Figure, Goal, median},
    writes,
};

/// Notifications to each user in a burst.
const BURST: u64 = 20;

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let (sockets, runs) = env.pick((20, 1), (1_000, 5));
    // More in bursts: they take so little CPU time that the kernel's clock would be too coarse.
    let (single, in_bursts) = env.pick((4, 2 * BURST), (60, 10 * BURST));
    env.on_stack((0, 1), async |stack| {
        let mut clients = ClientProcesses::start(env::plan(stack, sockets)).await?;
        clients.connect(CONNECT).await?;
        let (mut values, mut limits, mut per_frame, mut number) = (vec![], vec![], vec![], 0);
        // Alternating, so that other load of the machine affects both.
        for _ in 0..runs {
            let bursts = number + single;
            limits.push(publish(stack, &clients, number..bursts, 1).await?.0);
            number = bursts + in_bursts;
            let (per_second, writes_per_frame) =
                publish(stack, &clients, bursts..number, BURST).await?;
            values.push(per_second);
            per_frame.push(writes_per_frame);
        }
        let missing = clients.finish(number * sockets as u64).await?.missing;
        let name = format!("burst_frames_per_core_{sockets}");
        Ok(vec![
            Figure::new(&name, "frames/s", values, Goal::RatioAtLeast(5.0))
                .with_limit(median(&limits).unwrap_or_default())
                .with_note(format!(
                    "{BURST} notifications to each user at once, {:.2} writes per frame; limit: \
                     single ones",
                    median(&per_frame).unwrap_or_default()
                ))
                .missed_if((missing > 0).then(|| format!("{missing} notifications missing"))),
        ])
    })
    .await
}

/// Publishes the numbered notifications to users with one socket each, `burst` to each user at
/// once. Returns frames per second of the gateway's CPU time, and writes per frame.
async fn publish(
    stack: &Stack,
    clients: &ClientProcesses,
    mut numbers: Range<u64>,
    burst: u64,
) -> anyhow::Result<(f64, f64)> {
    let (mut redis, gateway) = (stack.redis.connection().await?, &stack.gateways[0]);
    let sockets = clients.plan.sockets as u64;
    let frames = (numbers.end - numbers.start) * sockets;
    let counted = writes::counts(gateway).await?;
    let before = env::used(gateway)?.cpu;
    while !numbers.is_empty() {
        let first = numbers.start;
        numbers.start += burst;
        let kind = ("standard", 0);
        env::publish_bursts(&mut redis, &clients.plan, first..numbers.start, kind).await?;
        env::arrived(clients, numbers.start * sockets).await?;
    }
    let cpu = env::used(gateway)?.cpu.saturating_sub(before);
    let (flushes, written) = writes::counts(gateway).await?;
    let writes_per_frame = (flushes - counted.0) / (written - counted.1).max(1.0);
    Ok((per_cpu_second(frames, cpu), writes_per_frame))
}
