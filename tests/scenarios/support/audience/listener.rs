//! The client of one user: listens, and comes back or not when its connection ends.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;
use tokio::time::Instant;

use super::{Books, Manner, lock};
use crate::checker::{Position, position};
use harness::client::{Client, Closed, Connect};

/// Longer than any scenario: how long a client may hear nothing.
const PATIENCE: Duration = Duration::from_hours(1);
/// How long a client waits before it comes back, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The client of one user.
pub(super) struct Listener {
    pub(super) user: String,
    pub(super) manner: Manner,
    pub(super) connections: Vec<Connect>,
    pub(super) books: Arc<Mutex<Books>>,
    pub(super) position: Option<(Position, String)>,
}

impl Listener {
    pub(super) async fn listen(mut self, first: usize) {
        let mut pause = FIRST_PAUSE;
        for turn in first.. {
            let mut connection = self.connections[turn % self.connections.len()].clone();
            if let Some((_, position)) = &self.position {
                connection = connection.query("last_event_id", position);
            }
            if let Ok(client) = connection.open().await {
                pause = FIRST_PAUSE;
                let ended = self.hear(client).await;
                if !self.note(ended) {
                    return;
                }
            }
            // Whoever was refused comes back later and later, as a good client does.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Books the end of a connection; returns whether the client comes back.
    fn note(&self, ended: anyhow::Result<()>) -> bool {
        // Restless clients are never away for long.
        let Err(problem) = ended else { return true };
        let mut books = lock(&self.books);
        books.present.remove(&self.user);
        let code = problem.downcast_ref::<Closed>().map_or(0, |closed| closed.code);
        *books.codes.entry(code).or_default() += 1;
        if self.manner == Manner::Stays {
            books.complaints.push(format!("{}: {problem:#}", self.user));
        }
        self.manner != Manner::Stays
    }

    /// Takes everything until the connection ends, which is an error, or the client leaves.
    async fn hear(&mut self, mut client: Client) -> anyhow::Result<()> {
        loop {
            let frame = client.frame(PATIENCE).await?;
            if frame["event"] == "connection_state" {
                self.be_told(&frame["data"])?;
            } else if self.take(&frame)? && self.manner == Manner::Restless {
                return Ok(());
            }
        }
    }

    fn be_told(&mut self, state: &Value) -> anyhow::Result<()> {
        let mut books = lock(&self.books);
        if state["state"] == "authenticated" {
            books.present.insert(self.user.clone());
        }
        // In mid-connection this tells of a gap that could not be closed.
        books.incomplete += u64::from(state["resume"] == "incomplete");
        books.pauses.extend(state["reconnect_after_ms"].as_u64());
        drop(books);
        if self.position.is_none() { self.reach(state["last_event_id"].as_str()) } else { Ok(()) }
    }

    /// Returns whether it is a notification.
    fn take(&mut self, frame: &Value) -> anyhow::Result<bool> {
        if frame["event"] == "marker" {
            lock(&self.books).marked.insert(self.user.clone());
            return Ok(false);
        }
        let id = frame["event_id"].as_str().context("a notification has an event id")?;
        {
            let mut books = lock(&self.books);
            books.ledger.arrived(&self.user, frame)?;
            books.arrived.entry(id.to_owned()).or_insert_with(Instant::now);
        }
        self.reach(frame["id"].as_str())?;
        Ok(true)
    }

    fn reach(&mut self, id: Option<&str>) -> anyhow::Result<()> {
        if let Some(id) = id {
            let reached = (position(id)?, id.to_owned());
            self.position = self.position.take().max(Some(reached));
        }
        Ok(())
    }
}
