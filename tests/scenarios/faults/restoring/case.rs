//! One loss: events are sent, Redis loses some of them, and every client has to receive each once.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use harness::{
    events::{self, fresh_user},
    eventually,
    redis::RedisTopology,
    service::Service,
    stack::Stack,
};
use redis::cmd;
use serde_json::Value;

use super::{
    receiver::Receiver,
    watermarks::{WATERMARKS, wait_for_watermarks},
};
use crate::{
    assertions::wait_for_published, run_profile::RunProfile, under_load::RECOVERY_TIMEOUT,
};

/// Longest time until what was lost is back, for the restart of Redis and for each event: about
/// five times what unoptimized services take beside other processes. Only a defect takes longer.
const LIMIT: Duration = Duration::from_secs(10);
const LIMIT_PER_EVENT: Duration = Duration::from_millis(1);

/// How Redis loses data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It restarts with the data that it had some time before.
    OlderSnapshot,
    /// The same, from before the first watermark, as after an upgrade from a version without.
    BeforeWatermarks,
    /// It restarts without data.
    EmptyRestart,
    /// All keys are deleted.
    Flush,
}

/// What happens while the worker restores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meanwhile {
    Nothing,
    /// The first worker is killed and restarted.
    WorkerKilled,
    /// All workers are killed before the loss and restarted once clients have resumed.
    WorkersDown,
    /// Another worker joins the group.
    WorkerAdded,
    /// Redis loses the same data again.
    LostAgain,
}

/// A case; `kept` and `lost` are events of each user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) users: usize,
    pub(super) kept: usize,
    pub(super) lost: usize,
    pub(super) loss: Loss,
    pub(super) meanwhile: Meanwhile,
}

/// A user, and what is known before Redis loses data.
pub(crate) struct User {
    pub(crate) id: String,
    /// The ids of the events that were sent.
    pub(crate) events: Vec<String>,
    /// The position after the first of them.
    pub(crate) position: String,
    /// The positions of all of them.
    published: HashSet<String>,
}

impl User {
    /// Waits until the user's history has every event once. Returns how many were lost and how many
    /// restored.
    pub(crate) async fn restored(
        &self,
        stack: &Stack<impl RedisTopology>,
    ) -> anyhow::Result<(usize, usize)> {
        let entries = history(stack, &self.id, &self.events).await?;
        let kept = entries.iter().filter(|(id, _)| self.published.contains(id)).count();
        Ok((self.published.len() - kept, entries.len() - kept))
    }

    pub(crate) fn fresh() -> Self {
        Self {
            id: fresh_user(),
            events: Vec::new(),
            position: String::new(),
            published: HashSet::new(),
        }
    }
}

impl Case {
    /// Runs the case with fresh users: one is connected all the time, half of the others resume
    /// while data are restored, the rest afterwards.
    pub(super) async fn run(self, stack: &mut Stack, name: &str) -> anyhow::Result<()> {
        let mut users: Vec<User> = (0..self.users).map(|_| User::fresh()).collect();
        let connected = stack.client(&users[0].id).await?;
        send(stack, &mut users, self.kept).await?;
        wait_for_watermarks(stack).await?;
        let snapshot = stack.redis.log_bytes()?;
        send(stack, &mut users, self.lost).await?;

        if self.meanwhile == Meanwhile::WorkersDown {
            try_join_all(stack.workers.iter().map(Service::kill)).await?;
        }
        let lost_at = Instant::now();
        self.loss.apply(stack, snapshot).await?;
        let (early, late) = users[1..].split_at((self.users - 1) / 2);
        let mut receivers = vec![Receiver::connected(connected, &users[0])];
        for user in early {
            receivers.push(Receiver::resume(stack, user, self.kept).await?);
        }
        self.interfere(stack, snapshot).await.context("while data are restored")?;
        let (lost, restored) = wait_until_restored(stack, &users).await?;
        let took = lost_at.elapsed();
        for user in late {
            receivers.push(Receiver::resume(stack, user, self.kept).await?);
        }
        let is_behind = matches!(self.loss, Loss::OlderSnapshot | Loss::BeforeWatermarks);
        let (mut missing, mut twice) = (0, 0);
        // Together: one that is not read for a minute is closed.
        let received = try_join_all(receivers.into_iter().map(|receiver| receiver.drain(stack)));
        for received in received.await? {
            ensure!(received.is_complete || !is_behind, "{name}: a resume was incomplete");
            (missing, twice) = (missing + received.missing, twice + received.twice);
        }
        let sent = self.users * (self.kept + self.lost);
        eprintln!(
            "{name}, {self:?}: sent {sent}, lost by Redis {lost}, restored {restored}, \
             missing {missing}, twice {twice}, after {took:?}"
        );
        let lost_by_each = if is_behind { self.lost } else { self.kept + self.lost };
        ensure!(lost == self.users * lost_by_each, "{name}: Redis has lost {lost} events");
        ensure!(restored == lost, "{name}: expected {lost} restored events, got {restored}");
        ensure!((missing, twice) == (0, 0), "{name}: {missing} missing, {twice} twice");
        self.expect_in_time(lost, took)?;
        if self.meanwhile == Meanwhile::WorkerAdded {
            stack.stop_last_worker().await?;
        }
        Ok(())
    }

    /// Expects that so many events were restored in time, in the long form, and if nothing happened
    /// meanwhile that has time-outs of its own.
    fn expect_in_time(self, lost: usize, took: Duration) -> anyhow::Result<()> {
        let limit = LIMIT + LIMIT_PER_EVENT * u32::try_from(lost)?;
        let is_limited = RunProfile::current() == RunProfile::Chaos;
        let is_late = is_limited && self.meanwhile == Meanwhile::Nothing && took > limit;
        ensure!(!is_late, "{self:?}: restored after {took:?} (limit: {limit:?})");
        Ok(())
    }

    async fn interfere(self, stack: &mut Stack, snapshot: u64) -> anyhow::Result<()> {
        match self.meanwhile {
            Meanwhile::Nothing => Ok(()),
            Meanwhile::WorkerKilled => {
                stack.workers[0].kill().await?;
                stack.workers[0].restart().await
            }
            Meanwhile::WorkersDown => {
                try_join_all(stack.workers.iter_mut().map(Service::restart)).await?;
                Ok(())
            }
            Meanwhile::WorkerAdded => stack.start_another_worker().await,
            Meanwhile::LostAgain => self.loss.apply(stack, snapshot).await,
        }
    }
}

impl Loss {
    async fn apply(self, stack: &mut Stack, snapshot: u64) -> anyhow::Result<()> {
        match self {
            Self::OlderSnapshot => {
                stack.redis.kill().await?;
                stack.redis.truncate_log(snapshot)?;
                stack.redis.restart().await
            }
            Self::BeforeWatermarks => {
                Box::pin(Self::OlderSnapshot.apply(stack, snapshot)).await?;
                let mut delete = cmd("DEL");
                delete.arg(WATERMARKS).exec_async(&mut stack.redis.connection().await?).await?;
                Ok(())
            }
            Self::EmptyRestart => {
                stack.redis.kill().await?;
                stack.redis.restart_empty().await
            }
            Self::Flush => {
                Ok(cmd("FLUSHALL").exec_async(&mut stack.redis.connection().await?).await?)
            }
        }
    }
}

/// Waits until the history of each user has every event once. Returns how many were lost and how
/// many restored.
async fn wait_until_restored(stack: &Stack, users: &[User]) -> anyhow::Result<(usize, usize)> {
    let (mut lost, mut restored) = (0, 0);
    for user in users {
        let counts = user.restored(stack).await?;
        (lost, restored) = (lost + counts.0, restored + counts.1);
    }
    Ok((lost, restored))
}

/// Sends so many events to each user, and waits until they are published.
pub(crate) async fn send(
    stack: &Stack<impl RedisTopology>,
    users: &mut [User],
    count: usize,
) -> anyhow::Result<()> {
    let mut cases = events::designed()?;
    // A gateway may delay notifications of low priority.
    cases.retain(|case| !case.may_wait());
    let mut sent = Vec::new();
    for (number, case) in (0..count).zip(cases.iter().cycle()) {
        for user in users.iter_mut() {
            let event = case.fresh(&user.id).with_context(|| format!("event {number}"))?;
            user.events.push(event.id.clone());
            sent.push(event);
        }
    }
    stack.producer.send_all(&sent).await?;
    for user in users {
        let entries = wait_for_published(stack, &user.id, user.events.len()).await?;
        let positions: Vec<String> = entries.into_iter().map(|(id, _)| id).collect();
        if user.position.is_empty() {
            user.position.clone_from(positions.last().context("the stream has entries")?);
        }
        user.published = positions.into_iter().collect();
    }
    Ok(())
}

/// Waits until the history of a user has every event, each once. Returns the position of each
/// entry, and whether it may have been published before.
pub(crate) async fn history(
    stack: &Stack<impl RedisTopology>,
    user: &str,
    events: &[String],
) -> anyhow::Result<Vec<(String, bool)>> {
    eventually("the history is complete", RECOVERY_TIMEOUT, async || {
        let (mut copies, mut entries) = (HashMap::<String, u32>::new(), Vec::new());
        for (position, text) in stack.stream(user).await? {
            let frame: Value = serde_json::from_str(&text)?;
            let id = frame["event_id"].as_str().context("an entry without event id")?;
            *copies.entry(id.to_owned()).or_default() += 1;
            entries.push((position, frame["restored"] == true));
        }
        let missing = events.iter().filter(|id| !copies.contains_key(*id)).count();
        ensure!(missing == 0, "{missing} of {} events are missing", events.len());
        let twice = copies.values().filter(|copies| **copies > 1).count();
        ensure!(twice == 0, "{twice} events are stored twice");
        Ok(entries)
    })
    .await
}
