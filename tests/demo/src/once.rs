//! Sends each event once and prints whether and how fast it arrived.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::{
    client::Client,
    events::{self, Case},
    stack::{Stack, TIMEOUT},
};
use hyper::header;
use serde_json::Value;

use crate::USER;

/// Returns whether every event arrived as its fixture says.
pub(crate) async fn run(stack: &Stack, origin: &str) -> anyhow::Result<bool> {
    let connection = stack.connection(0, USER)?.header(header::ORIGIN, origin);
    let mut client = connection.open().await?;
    client.expect_authenticated(TIMEOUT).await?;
    let cases = events::designed()?;
    let mut arrived = 0;
    println!("{:<42} {:<10} {:>10}", "event", "received", "latency");
    for case in &cases {
        match send_and_receive(stack, &mut client, case).await {
            Ok(latency) => {
                arrived += 1;
                let latency = format!("{:.1} ms", latency.as_secs_f64() * 1000.0);
                println!("{:<42} {:<10} {latency:>10}", case.name(), "yes");
            }
            Err(problem) => println!("{:<42} {:<10} {problem:#}", case.name(), "no"),
        }
    }
    println!("{arrived} of {} events arrived", cases.len());
    Ok(arrived == events::DESIGNED)
}

async fn send_and_receive(
    stack: &Stack,
    client: &mut Client,
    case: &Case,
) -> anyhow::Result<Duration> {
    let event = case.fresh(USER)?.happening_now();
    let sent = Instant::now();
    stack.producer.send(&event).await?;
    let mut frame = client.next_notification(TIMEOUT).await?;
    let latency = sent.elapsed();
    frame.as_object_mut().map(|fields| fields.remove("id"));
    ensure!(frame == event.notification, "unexpected notification: {}", Value::to_string(&frame));
    Ok(latency)
}
