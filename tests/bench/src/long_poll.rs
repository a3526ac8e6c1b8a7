//! CPU time of the gateway for clients that poll, and for as many WebSockets.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{event_feed, events::fresh_user, stack::Stack};
use hyper::StatusCode;
use redis::Pipeline;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use crate::{
    env::{self, Env},
    figure::{Figure, Goal},
    script,
};

const TEXT: &str = r#"{"event":"class_created","category":"class_management","priority":"low"}"#;
/// Longest time for a WebSocket's next frame: there may be none.
const FRAME: Duration = Duration::from_hours(1);

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let clients = env.pick(20, 1_000);
    // Each client is sent one event in this time.
    let duration = Duration::from_secs(env.pick(2, 60));
    env.on_stack((0, 1), async |stack| {
        let users: Vec<String> = (0..clients).map(|_| fresh_user()).collect();
        let mut sockets = JoinSet::new();
        for user in &users {
            let mut client = stack.client(user).await?;
            sockets.spawn(async move { while client.next_frame(FRAME).await.is_ok() {} });
        }
        let by_sockets = cost(stack, &users, duration).await?;
        ensure!(sockets.try_join_next().is_none(), "a socket was closed");
        sockets.shutdown().await;
        let mut polls = JoinSet::new();
        for user in &users {
            polls.spawn(poll(stack.gateways[0].address(), stack.token(user)?));
        }
        let by_polls = cost(stack, &users, duration).await?;
        if let Some(ended) = polls.try_join_next() {
            ended?.context("a client ended")?;
        }
        let goal = Goal::RatioAtMost(3.0);
        let figure = Figure::new("poll_us_per_client_second", "us", vec![by_polls], goal);
        let note = format!("{clients} clients, an event each in {duration:?}; limit: WebSockets");
        Ok(vec![figure.with_limit(by_sockets).with_note(note)])
    })
    .await
}

/// Polls like the client, but with a TCP connection for each poll.
async fn poll(gateway: std::net::SocketAddr, token: String) -> anyhow::Result<()> {
    let mut query = "wait=0&read_up_to=".to_owned();
    loop {
        let (status, answer) = event_feed::poll(gateway, &token, &query).await?;
        ensure!(status == StatusCode::OK, "expected an answer, got {status}: {answer}");
        let next = answer["next"].as_str().context("a position")?;
        query = format!("after={next}&wait=25&read_up_to=0-0");
    }
}

/// Returns the gateway's CPU time per client and second in microseconds, while each user is sent
/// one event.
async fn cost(stack: &Stack, users: &[String], duration: Duration) -> anyhow::Result<f64> {
    let mut redis = stack.redis.connection().await?;
    let script = script::load(&mut redis).await?;
    // The handshakes are over by then.
    sleep(duration / 10).await;
    let (begun, before) = (Instant::now(), env::used(&stack.gateways[0])?.cpu);
    let mut ticks = interval(duration / u32::try_from(users.len())?);
    for (number, user) in (0..).zip(users) {
        ticks.tick().await;
        let mut pipeline = Pipeline::new();
        script::add_call(&mut pipeline, &script, user, (number, TEXT));
        pipeline.exec_async(&mut redis).await.context("publish")?;
    }
    let cpu = env::used(&stack.gateways[0])?.cpu.saturating_sub(before);
    let seconds = begun.elapsed().as_secs_f64() * env::float(users.len() as u64);
    Ok(cpu.as_secs_f64() * 1e6 / seconds)
}
