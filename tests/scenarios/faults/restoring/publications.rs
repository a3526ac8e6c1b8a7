//! Everything that Redis publishes. Clients drop what they are sent again; this counts it.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use harness::{redis::RedisTopology as _, stack::Stack};
use redis::{AsyncCommands as _, Client, aio::PubSub};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};

use crate::under_load::RECOVERY_TIMEOUT;

/// The channel of the last message.
const END: &str = "ws:end";

/// Counts publications until it is stopped.
pub(super) struct Publications(JoinHandle<anyhow::Result<Copies>>);

/// How often each event was published to each channel.
type Copies = HashMap<(String, String), u32>;

impl Publications {
    /// Subscribes to the channels of all users.
    pub(super) async fn count(stack: &Stack) -> anyhow::Result<Self> {
        let mut messages = Client::open(stack.redis.url())?.get_async_pubsub().await?;
        messages.psubscribe("ws:*").await?;
        Ok(Self(tokio::spawn(count(messages))))
    }

    /// Checks that no event was published twice, and that at least `min` were published.
    pub(super) async fn expect_each_once(self, stack: &Stack, min: usize) -> anyhow::Result<()> {
        let () = stack.redis.connection().await?.publish(END, "").await?;
        let copies = timeout(RECOVERY_TIMEOUT, self.0).await???;
        let twice = copies.values().filter(|copies| **copies > 1).count();
        ensure!(twice == 0, "{twice} of {} events were published twice", copies.len());
        ensure!(copies.len() >= min, "{} events were published, not {min}", copies.len());
        Ok(())
    }
}

async fn count(messages: PubSub) -> anyhow::Result<Copies> {
    let (mut messages, mut copies) = (messages.into_on_message(), Copies::new());
    loop {
        let message = messages.next().await.context("the subscription has ended")?;
        let channel = message.get_channel_name();
        if channel == END {
            return Ok(copies);
        }
        // Others are probes, read states and the like.
        let Ok(frame) = serde_json::from_slice::<Value>(message.get_payload_bytes()) else {
            continue;
        };
        if let Some(event) = frame["event_id"].as_str() {
            *copies.entry((channel.to_owned(), event.to_owned())).or_default() += 1;
        }
    }
}
