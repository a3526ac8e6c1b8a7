//! One client of the fleet: records what it receives, and reconnects as its policy says.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use harness::client::{Client, Closed, ConnectOptions};
use serde_json::Value;
use shared::backoff::Backoff;
use tokio::time::Instant;
use ws_gateway::protocol::{READ_STATE_EVENT, STATE_EVENT};

use super::{Observations, ReconnectPolicy, lock};
use crate::delivery_checker::{Position, position};

/// Longest wait for a frame; longer than any scenario, so that it never ends a connection.
const FRAME_LIMIT: Duration = Duration::from_hours(1);
/// Delays between attempts to connect.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// The client of one user.
pub(super) struct FleetClient {
    pub(super) user: String,
    pub(super) policy: ReconnectPolicy,
    /// Tried in turn, one per connection.
    pub(super) endpoints: Vec<ConnectOptions>,
    pub(super) observations: Arc<Mutex<Observations>>,
    pub(super) position: Option<(Position, String)>,
}

impl FleetClient {
    pub(super) async fn run(mut self, first_endpoint: usize) {
        let mut backoff = BACKOFF;
        for turn in first_endpoint.. {
            let mut options = self.endpoints[turn % self.endpoints.len()].clone();
            if let Some((_, position)) = &self.position {
                options = options.query("last_event_id", position);
            }
            if let Ok(client) = options.open().await {
                backoff.reset();
                lock(&self.observations).opening.insert(self.user.clone());
                let ended = self.receive(client).await;
                if !self.reconnects_after(ended) {
                    return;
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Records the end of a connection and returns whether the client reconnects.
    fn reconnects_after(&self, ended: anyhow::Result<()>) -> bool {
        let mut seen = lock(&self.observations);
        seen.opening.remove(&self.user);
        // The client disconnected by itself and still counts as connected.
        let Err(problem) = ended else { return true };
        seen.connected.remove(&self.user);
        let code = problem.downcast_ref::<Closed>().map_or(0, |closed| closed.code);
        *seen.close_codes.entry(code).or_default() += 1;
        if self.policy == ReconnectPolicy::Never {
            seen.unexpected_disconnects.push(format!("{}: {problem:#}", self.user));
        }
        self.policy != ReconnectPolicy::Never
    }

    /// Receives frames until the connection ends, which is an error, or the client disconnects.
    async fn receive(&mut self, mut client: Client) -> anyhow::Result<()> {
        loop {
            let frame = client.next_frame(FRAME_LIMIT).await?;
            if frame["event"] == STATE_EVENT {
                self.record_state(&frame["data"])?;
            } else if frame["event"] != READ_STATE_EVENT
                && self.record_frame(&frame)?
                && self.policy == ReconnectPolicy::ResumeAfterEach
            {
                return Ok(());
            }
        }
    }

    fn record_state(&mut self, state: &Value) -> anyhow::Result<()> {
        let mut seen = lock(&self.observations);
        if state["state"] == "authenticated" {
            seen.connected.insert(self.user.clone());
            seen.opening.remove(&self.user);
        }
        // On a live connection this reports a gap that history could not close.
        seen.incomplete_resumes += u64::from(state["resume"] == "incomplete");
        seen.reconnect_delays_ms.extend(state["reconnect_after_ms"].as_u64());
        drop(seen);
        match self.position {
            None => self.advance(state["last_event_id"].as_str()),
            Some(_) => Ok(()),
        }
    }

    /// Returns whether the frame is a notification.
    fn record_frame(&mut self, frame: &Value) -> anyhow::Result<bool> {
        if frame["event"] == "marker" {
            lock(&self.observations).marked.insert(self.user.clone());
            return Ok(false);
        }
        let id = frame["event_id"].as_str().context("a notification has an event id")?;
        {
            let mut seen = lock(&self.observations);
            seen.checker.record_delivered(&self.user, frame)?;
            seen.delivered.entry(id.to_owned()).or_insert_with(Instant::now);
        }
        self.advance(frame["id"].as_str())?;
        Ok(true)
    }

    fn advance(&mut self, id: Option<&str>) -> anyhow::Result<()> {
        if let Some(id) = id {
            let reached = (position(id)?, id.to_owned());
            self.position = self.position.take().max(Some(reached));
        }
        Ok(())
    }
}
