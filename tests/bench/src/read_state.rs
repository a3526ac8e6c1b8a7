//! How long it takes until a click on one device changes the unread badge of another.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{client::Client, events::fresh_user, stack::Stack};
use redis::{Pipeline, aio::MultiplexedConnection};
use serde_json::{Value, json};

use crate::{
    env::Env,
    figure::{Figure, Goal},
    script,
};

/// The number of users that have a history and two devices.
const USERS: usize = 20;
const TEXT: &str =
    r#"{"event":"class_created","category":"class_management","priority":"standard"}"#;
/// Longest time for a frame.
const FRAME: Duration = Duration::from_secs(20);

/// A user with a device at each of two gateways.
struct Devices {
    user: String,
    first: Client,
    second: Client,
}

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let clicks = env.pick(2, 100);
    env.on_stack((0, 2), async |stack| {
        let mut redis = stack.redis.connection().await?;
        let script = script::load(&mut redis).await?;
        let mut devices = Vec::with_capacity(USERS);
        for _ in 0..USERS {
            devices.push(Devices::connect(stack).await?);
        }
        let mut latencies = Vec::new();
        for number in 0..clicks {
            for devices in &mut devices {
                latencies.push(devices.click(&mut redis, &script, number).await?);
            }
        }
        latencies.sort_unstable();
        let percentile = |percent: usize| {
            let latency = latencies[(latencies.len() * percent / 100).min(latencies.len() - 1)];
            latency.as_secs_f64() * 1e3
        };
        let note = format!("{} clicks, p50 {:.1} ms", latencies.len(), percentile(50));
        let figure = Figure::new("badge_p99", "ms", vec![percentile(99)], Goal::AtMost(100.0));
        Ok(vec![figure.with_note(note)])
    })
    .await
}

impl Devices {
    async fn connect(stack: &Stack) -> anyhow::Result<Self> {
        let user = fresh_user();
        let first = stack.client_at(0, &user).await?;
        let second = stack.client_at(1, &user).await?;
        Ok(Self { user, first, second })
    }

    /// Marks a new notification as read on the first device. Returns how long it takes until the
    /// second has no unread one.
    async fn click(
        &mut self,
        redis: &mut MultiplexedConnection,
        script: &str,
        number: u64,
    ) -> anyhow::Result<Duration> {
        let mut pipeline = Pipeline::new();
        script::add_call(&mut pipeline, script, &self.user, (number, TEXT));
        pipeline.exec_async(redis).await.context("publish")?;
        let up_to = self.first.next_frame(FRAME).await.context("the notification")?["id"].clone();
        self.second.next_frame(FRAME).await.context("the notification")?;
        let begun = Instant::now();
        self.first.send_json(&json!({"type": "read", "up_to": up_to})).await?;
        let state: Value = self.second.next_frame(FRAME).await.context("the read state")?;
        let latency = begun.elapsed();
        ensure!(state["data"]["unread"] == 0, "expected no unread notification, got {state}");
        self.first.next_frame(FRAME).await?;
        Ok(latency)
    }
}
