//! A client that was connected when Redis lost data, or resumes from a position before that.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use harness::{
    client::Client,
    eventually,
    redis::{RedisTopology, stream_key},
    stack::{Stack, TIMEOUT},
};
use redis::cmd;
use serde_json::json;

use super::case::User;
use crate::under_load::RECOVERY_TIMEOUT;

/// A connected client and the ids of the events that it has to receive.
pub(crate) struct Receiver {
    client: Client,
    user: String,
    expected: Vec<String>,
    /// How often it has received each event.
    copies: HashMap<String, u32>,
    is_complete: bool,
}

/// What a client has received.
pub(crate) struct Received {
    /// Whether it was not asked to reload.
    pub(crate) is_complete: bool,
    /// Events that it has to receive and has not, unless it was asked to reload.
    pub(crate) missing: usize,
    /// Notifications of events that it had received on the same connection.
    pub(crate) twice: usize,
}

impl Receiver {
    /// A client that was connected before the first event.
    pub(crate) fn connected(client: Client, user: &User) -> Self {
        Self {
            client,
            user: user.id.clone(),
            expected: user.events.clone(),
            copies: HashMap::new(),
            is_complete: true,
        }
    }

    /// Connects a client that has received the first `kept` events of a user.
    pub(crate) async fn resume(
        stack: &Stack<impl RedisTopology>,
        user: &User,
        kept: usize,
    ) -> anyhow::Result<Self> {
        let options = stack.connection(0, &user.id)?.query("last_event_id", &user.position);
        let open = async || {
            let mut client = options.open().await?;
            let state = client.expect_authenticated(TIMEOUT).await?;
            Ok((client, state["resume"] == "complete"))
        };
        let (client, is_complete) = eventually("a client resumes", RECOVERY_TIMEOUT, open).await?;
        let expected = if is_complete { user.events[kept..].to_vec() } else { Vec::new() };
        let copies = HashMap::new();
        Ok(Self { client, user: user.id.clone(), expected, copies, is_complete })
    }

    /// Reads a frame; false if it is the marker.
    async fn read(&mut self) -> anyhow::Result<bool> {
        let frame = self.client.next_notification(TIMEOUT).await?;
        if frame["event"] == "marker" {
            return Ok(false);
        }
        let id = frame["event_id"].as_str().context("a notification has an event id")?;
        *self.copies.entry(id.to_owned()).or_default() += 1;
        Ok(true)
    }

    /// Reads all that has been sent to the client.
    pub(crate) async fn drain(
        mut self,
        stack: &Stack<impl RedisTopology>,
    ) -> anyhow::Result<Received> {
        // A marker overtakes the pages of a history that are still to be read.
        while self.expected.iter().any(|id| !self.copies.contains_key(id)) {
            if self.read().await.is_err() {
                return Ok(self.received());
            }
        }
        let marker = json!({"event": "marker"}).to_string();
        eventually("the user is subscribed", RECOVERY_TIMEOUT, async || {
            // In a cluster a gateway subscribes where the user's stream is.
            let mut redis = stack.redis.connection_for(&stream_key(&self.user)).await?;
            let mut publish = cmd("PUBLISH");
            publish.arg(format!("ws:{}", self.user)).arg(&marker);
            let gateways: u64 = publish.query_async(&mut redis).await?;
            ensure!(gateways > 0, "no gateway is");
            Ok(())
        })
        .await?;
        while self.read().await? {}
        Ok(self.received())
    }

    fn received(&self) -> Received {
        Received {
            is_complete: self.is_complete,
            missing: self.expected.iter().filter(|id| !self.copies.contains_key(*id)).count(),
            twice: self.copies.values().filter(|copies| **copies > 1).count(),
        }
    }
}
