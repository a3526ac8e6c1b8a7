//! One session with Redis: subscribes users, closes gaps from the streams, and ends when frames
//! may have been missed. A failure of one user degrades that user and is retried; only failures of
//! the connection or the server end the session.

mod gap;
mod load_schedule;
mod repair;
mod retry;
mod revocations;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult};
use shared::user::UserId;
use tokio::{sync::Notify, time};
use tracing::debug;

use super::{
    backend::Backend,
    reply::UserReply,
    retries::{Retries, Retry},
};
use crate::{
    hub::{Hub, PendingSubscription, Resync, Subscription, SubscriptionPlan},
    metrics::{GapRepair, Metrics, RedisUserError},
    protocol::Position,
};
use gap::{Gap, Gaps, MAX_STREAMS};
use load_schedule::LoadSchedule;

/// The maximum number of channels in one command, and of users that are subscribed together.
const BATCH: usize = 512;

/// How often the connections are checked. With [`CHECK_TIMEOUT`], a half-open connection is
/// detected within 5 s.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A session that is connected.
#[derive(Debug)]
pub(super) struct Session<B> {
    backend: B,
    hub: Hub,
    metrics: Metrics,
    subscribed: HashSet<UserId>,
    /// Users whose channels Redis refused, until the next attempt.
    refused: HashSet<Subscription>,
    gaps: Gaps,
    retries: Retries,
    load_schedule: LoadSchedule,
    /// Notified when a pub/sub connection is lost.
    lost: Arc<Notify>,
}

impl<B: Backend> Session<B> {
    pub(super) fn new(backend: B, hub: Hub, metrics: Metrics, lost: Arc<Notify>) -> Self {
        let (subscribed, refused, gaps, retries, load_schedule) = Default::default();
        Self { backend, hub, metrics, subscribed, refused, gaps, retries, load_schedule, lost }
    }

    /// Loads the revocations, then subscribes all users and closes their gaps: a user whose token
    /// was revoked meanwhile must not receive anything.
    ///
    /// # Errors
    /// If the session must end.
    pub(super) async fn start(&mut self) -> RedisResult<()> {
        self.wait_for_revocations().await?;
        self.catch_up().await
    }

    /// Runs until the session must end, and returns why.
    pub(super) async fn run(&mut self) -> RedisError {
        let lost = Arc::clone(&self.lost);
        let mut check = time::interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                () = lost.notified() => return disconnected(),
                () = self.hub.changed() => self.catch_up().await,
                _ = check.tick() => self.check().await,
                () = self.load_schedule.due() => self.load_revocations().await.map(drop),
                () = self.retries.due() => self.retry().await,
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    /// Applies the changes of the hub and closes all gaps. A user who disconnects and reconnects
    /// meanwhile is planned again and ends up subscribed.
    async fn catch_up(&mut self) -> RedisResult<()> {
        let mut pending = VecDeque::new();
        loop {
            // New users must not wait until a large repair is done.
            for user in self.hub.take_changed().into_iter().rev() {
                pending.push_front(user);
            }
            if !pending.is_empty() && self.gaps.len() <= MAX_STREAMS {
                let batch = pending.drain(..pending.len().min(BATCH));
                self.apply(self.hub.plan(batch)).await?;
            }
            if pending.is_empty() && self.gaps.is_empty() {
                return Ok(());
            }
            self.read_gaps().await?;
        }
    }

    async fn apply(&mut self, mut plan: SubscriptionPlan) -> RedisResult<()> {
        self.unsubscribe(plan.unsubscribe).await?;
        plan.subscribe.retain(|PendingSubscription { subscription, .. }| {
            !self.refused.contains(subscription) && !self.gaps.contains(subscription)
        });
        for subscription in self.subscribe(plan.subscribe).await? {
            self.retry_channel(Retry::new(subscription));
        }
        let subscribed = i64::try_from(self.subscribed.len()).unwrap_or(i64::MAX);
        self.metrics.subscriptions.set(subscribed);
        Ok(())
    }

    async fn unsubscribe(&mut self, users: Vec<UserId>) -> RedisResult<()> {
        let known = users.into_iter().filter(|user| self.subscribed.contains(user));
        let users: Vec<UserId> = known.collect();
        if !users.is_empty() {
            self.backend.unsubscribe(&users).await?;
        }
        for user in &users {
            self.subscribed.remove(user);
        }
        Ok(())
    }

    /// Subscribes first and reads second: the hub holds what is published in between. Returns the
    /// users whose channels Redis refuses; they stay unconfirmed.
    async fn subscribe(
        &mut self,
        pending: Vec<PendingSubscription>,
    ) -> RedisResult<Vec<Subscription>> {
        let all = pending.iter().map(|pending| pending.subscription.clone());
        let all: Vec<Subscription> = all.collect();
        let (mut gaps, mut unknown) = self.start_positions(pending).await?;
        let refused = self.subscribe_channels(all).await?;
        if !refused.is_empty() {
            gaps.retain(|gap| !refused.contains(&gap.subscription));
            unknown.retain(|subscription| !refused.contains(subscription));
        }
        for subscription in unknown {
            self.go_live_without_position(subscription);
        }
        self.gaps.extend(gaps);
        Ok(refused)
    }

    /// Subscribes to the channels of users that are not yet subscribed. Returns the refused ones.
    async fn subscribe_channels(
        &mut self,
        mut subscriptions: Vec<Subscription>,
    ) -> RedisResult<Vec<Subscription>> {
        subscriptions.retain(|subscription| !self.subscribed.contains(&subscription.user));
        if subscriptions.is_empty() {
            return Ok(subscriptions);
        }
        let users: Vec<UserId> = subscriptions.iter().map(|new| new.user.clone()).collect();
        let replies = self.backend.subscribe(&users).await?;
        let mut refused = Vec::new();
        for (subscription, reply) in subscriptions.into_iter().zip(replies) {
            if self.counted(&subscription, reply).is_some() {
                self.subscribed.insert(subscription.user);
            } else {
                refused.push(subscription);
            }
        }
        Ok(refused)
    }

    /// Determines where each user's stream has to be read from: for a new user, from its end.
    /// Returns the users without a position as well.
    async fn start_positions(
        &mut self,
        pending: Vec<PendingSubscription>,
    ) -> RedisResult<(Vec<Gap>, Vec<Subscription>)> {
        let (mut gaps, mut new) = (Vec::with_capacity(pending.len()), Vec::new());
        for PendingSubscription { subscription, position, was_live } in pending {
            match position {
                Some(position) => gaps.push(Gap::new(subscription, position, was_live)),
                None => new.push((subscription, was_live)),
            }
        }
        let mut unknown = Vec::new();
        for chunk in new.chunks(MAX_STREAMS) {
            let users: Vec<UserId> = chunk.iter().map(|(new, _)| new.user.clone()).collect();
            let positions = self.backend.positions(&users).await?;
            for ((subscription, was_live), position) in chunk.iter().zip(positions) {
                let position = self.counted(subscription, position);
                if *was_live {
                    // What was missed since is unknown as well.
                    self.metrics.gaps.of(GapRepair::Incomplete).inc();
                    self.hub.report_gap(subscription, Resync::Unknown);
                }
                match position {
                    Some(position) => {
                        self.hub.set_start_position(subscription, position);
                        gaps.push(Gap::new(subscription.clone(), position, false));
                    }
                    None => unknown.push(subscription.clone()),
                }
            }
        }
        Ok((gaps, unknown))
    }

    /// Reads the newest position of each subscribed user. A frame up to it that is still on its way
    /// is delivered first: once the position counts, it would be taken for a duplicate. Users whose
    /// slot has moved have none until their channels are subscribed at its new master.
    async fn delivered_positions(
        &mut self,
        users: &[UserId],
    ) -> RedisResult<Vec<UserReply<Position>>> {
        let mut positions = self.backend.positions(users).await?;
        for (user, position) in users.iter().zip(&mut positions) {
            if self.backend.has_moved(user) {
                *position = Err(RedisUserError::SlotMoving);
            }
        }
        self.check_connections().await?;
        Ok(positions)
    }

    async fn check(&mut self) -> RedisResult<()> {
        self.check_connections().await?;
        let moved = self.backend.follow_slots(&self.subscribed).await?;
        let Some(moved) = moved else { return Ok(()) };
        self.load_revocations().await?;
        self.retries.wake();
        self.hub.read_requests().wake();
        for user in &moved {
            self.subscribed.remove(user);
        }
        self.hub.mark_unsubscribed(moved);
        Ok(())
    }

    /// Returns once every frame that was published before has gone to the hub.
    async fn check_connections(&mut self) -> RedisResult<()> {
        let timer = self.metrics.redis_round_trip.start_timer();
        let checked = time::timeout(CHECK_TIMEOUT, self.backend.check()).await;
        checked.unwrap_or_else(|_| Err(disconnected()))?;
        timer.observe_duration();
        Ok(())
    }

    /// Counts and logs the failure of one user.
    pub(super) fn counted<T>(&self, subscription: &Subscription, reply: UserReply<T>) -> Option<T> {
        if let Err(kind) = &reply {
            self.metrics.redis_user_errors.of(*kind).inc();
            debug!(user.id = %subscription.user, error = kind.label(), "Redis reply about one user could not be used");
        }
        reply.ok()
    }
}

/// Returns the error of a connection that is lost or does not reply.
pub(super) fn disconnected() -> RedisError {
    (ErrorKind::Io, "connection lost or unresponsive").into()
}

#[cfg(test)]
mod tests;
