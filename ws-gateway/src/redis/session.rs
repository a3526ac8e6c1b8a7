//! One life of the connections to Redis: subscribes, feeds the hub, closes gaps, and ends at the
//! first sign that something may have been missed.
//!
//! Subscriptions have a connection of their own, as large answers on a subscribed one count
//! against the server's output limit for subscribers, and would have it closed.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult};
use shared::{
    keys::Keys,
    redis::{Channel, PubSub, RedisClient, RedisConnection},
    user::UserId,
};
use tokio::{sync::Notify, time};

use super::{
    history::{self, Page},
    push_handler::receiver,
    revocations::PushHandler,
};
use crate::{
    hub::{Hub, PendingSubscription, Subscribed},
    metrics::{GapRepair, Metrics},
    protocol::Position,
};

/// Most channels in one command, and most users brought up to date together.
const BATCH: usize = 512;

/// Most streams read in one round trip, so that a repair does not keep Redis from others.
const STREAMS_AT_ONCE: usize = 256;

/// How often Redis must show a sign of life. With [`CHECK_TIMEOUT`] a half-open connection is
/// found within 5 s.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often revocations are read anew, as what was published may have been lost on its way.
const REVOCATIONS_INTERVAL: Duration = Duration::from_secs(30);

/// How long it may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Session {
    keys: Keys,
    hub: Hub,
    metrics: Metrics,
    pubsub: PubSub,
    reads: RedisConnection,
    pooled: RedisConnection,
    subscribed: HashSet<UserId>,
    handler: PushHandler,
    /// Notified when a pub/sub connection is lost.
    lost: Arc<Notify>,
}

/// A user whose stream is being read.
struct Gap {
    user: UserId,
    position: Position,
    /// Whether the user was up to date before.
    is_repair: bool,
}

impl Gap {
    /// Whether something is missing that the stream no longer holds. A user who never had an
    /// entry has none to miss.
    fn is_lost(&self, page: &Page) -> bool {
        self.position != Position::START && !page.reaches_back
    }
}

impl Session {
    pub(super) async fn open(redis: &RedisClient, handler: PushHandler) -> RedisResult<Self> {
        let lost = Arc::new(Notify::new());
        let receiver = receiver(redis.keys.clone(), handler.clone(), lost.clone());
        let (pubsub, reads) = redis.connect_with_pubsub(receiver).await?;
        let (keys, subscribed) = (redis.keys.clone(), HashSet::new());
        let pooled = reads.pooled()?;
        let (hub, metrics) = (handler.hub.clone(), handler.metrics.clone());
        let mut session =
            Self { keys, hub, metrics, pubsub, reads, pooled, subscribed, handler, lost };
        session.check().await?;
        Ok(session)
    }

    /// Knows all revocations from here on: subscribed first and read second.
    pub(super) async fn learn_revocations(&mut self) -> RedisResult<()> {
        let name = self.keys.revocation_channel();
        // Published wherever its own name leads.
        self.pubsub.subscribe(vec![Channel { slot_key: name.clone(), name }]).await?;
        self.handler.load(&self.reads, &self.keys).await
    }

    /// Connections for reading what is published here: of their own, so that many clients that
    /// come back hold up neither a repair nor a sign of life.
    pub(super) fn reader(&self) -> RedisConnection {
        self.pooled.clone()
    }

    /// Lasts until Redis is lost, and says how.
    pub(super) async fn run(&mut self) -> RedisError {
        let lost = Arc::clone(&self.lost);
        let mut check = time::interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut revocations = time::interval(REVOCATIONS_INTERVAL);
        revocations.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                () = lost.notified() => return disconnected(),
                () = self.hub.changed() => self.catch_up().await,
                _ = check.tick() => self.check().await,
                _ = revocations.tick() => self.handler.load(&self.reads, &self.keys).await,
            };
            if let Err(error) = step {
                return error;
            }
        }
    }

    /// Makes the subscriptions what the hub wants them to be. One step at a time, so that a user
    /// who leaves and comes back meanwhile is looked at again and ends up subscribed.
    pub(super) async fn catch_up(&mut self) -> RedisResult<()> {
        let mut pending = VecDeque::from(self.hub.take_changed());
        while !pending.is_empty() {
            let batch = pending.drain(..pending.len().min(BATCH));
            let plan = self.hub.plan(batch);
            self.unsubscribe(plan.unsubscribe).await?;
            self.join(plan.subscribe).await?;
            self.count();
            // Who has just come should not wait until a large repair is done.
            for user in self.hub.take_changed() {
                pending.push_front(user);
            }
        }
        Ok(())
    }

    /// Subscribes first and reads second: what is published between the two is held by the hub.
    async fn join(&mut self, joining: Vec<PendingSubscription>) -> RedisResult<()> {
        if joining.is_empty() {
            return Ok(());
        }
        let mut gaps = self.positions(joining).await?;
        self.subscribe(&gaps).await?;
        while !gaps.is_empty() {
            let rest = gaps.split_off(gaps.len().min(STREAMS_AT_ONCE));
            let unfinished = self.close(gaps).await?;
            gaps = rest;
            gaps.extend(unfinished);
            // Sockets get to send before more is queued for them.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// From where each user is to be read: for a new one, from where the stream ends now.
    async fn positions(&mut self, joining: Vec<PendingSubscription>) -> RedisResult<Vec<Gap>> {
        let mut gaps = Vec::with_capacity(joining.len());
        let mut new = Vec::new();
        for PendingSubscription { user, position } in joining {
            match position {
                Some(position) => gaps.push(Gap { user, position, is_repair: true }),
                None => new.push(user),
            }
        }
        for users in new.chunks(STREAMS_AT_ONCE) {
            let newest = history::newest(&self.reads, &self.keys, users.iter()).await?;
            let new = users.iter().cloned().zip(newest);
            gaps.extend(new.map(|(user, position)| Gap { user, position, is_repair: false }));
        }
        for gap in &gaps {
            self.hub.set_start_position(&gap.user, gap.position);
        }
        Ok(gaps)
    }

    async fn subscribe(&mut self, gaps: &[Gap]) -> RedisResult<()> {
        let new = gaps.iter().map(|gap| &gap.user).filter(|user| !self.subscribed.contains(*user));
        let users: Vec<UserId> = new.cloned().collect();
        if users.is_empty() {
            return Ok(());
        }
        self.pubsub.subscribe(self.channels(users.iter())).await?;
        self.subscribed.extend(users);
        Ok(())
    }

    async fn unsubscribe(&mut self, users: Vec<UserId>) -> RedisResult<()> {
        let known = users.iter().filter(|user| self.subscribed.contains(*user));
        let channels = self.channels(known);
        if channels.is_empty() {
            return Ok(());
        }
        self.pubsub.unsubscribe(channels).await?;
        for user in &users {
            self.subscribed.remove(user);
        }
        Ok(())
    }

    fn channels<'a>(&self, users: impl Iterator<Item = &'a UserId>) -> Vec<Channel> {
        let channel =
            |user| Channel { name: self.keys.channel(user), slot_key: self.keys.stream(user) };
        users.map(channel).collect()
    }

    /// Reads a page for each user and hands it on. Returns who needs another.
    async fn close(&mut self, gaps: Vec<Gap>) -> RedisResult<Vec<Gap>> {
        let from = gaps.iter().map(|gap| (&gap.user, gap.position));
        let pages = history::read(&self.reads, &self.keys, from).await?;
        let read: Vec<(Gap, Page)> = gaps.into_iter().zip(pages).collect();
        self.report_lost(&read).await?;
        Ok(read.into_iter().filter_map(|(gap, page)| self.hand_on(gap, &page)).collect())
    }

    /// Tells the users whose stream no longer reaches back, before they get what is left of it.
    async fn report_lost(&mut self, read: &[(Gap, Page)]) -> RedisResult<()> {
        let lost = || read.iter().filter(|(gap, page)| gap.is_lost(page));
        for (gap, _) in lost().filter(|(_, page)| !page.is_empty) {
            self.hub.report_gap(&gap.user, None);
        }
        // Where there is nothing left, new positions may be smaller than the old one.
        let users: Vec<&UserId> =
            lost().filter(|(_, page)| page.is_empty).map(|(gap, _)| &gap.user).collect();
        if users.is_empty() {
            return Ok(());
        }
        let newest = history::newest(&self.reads, &self.keys, users.iter().copied()).await?;
        for (user, newest) in users.into_iter().zip(newest) {
            self.hub.report_gap(user, Some(newest));
        }
        Ok(())
    }

    /// Returns the user again if there is more to read.
    fn hand_on(&self, gap: Gap, page: &Page) -> Option<Gap> {
        self.metrics.malformed_frames.inc_by(page.malformed as u64);
        if gap.is_repair {
            self.metrics.messages_repaired.inc_by(page.frames.len() as u64);
        }
        self.hub.replay(&gap.user, &page.frames);
        if page.more {
            return Some(Gap { position: page.newest, ..gap });
        }
        if let Subscribed::ReadFrom(position) = self.hub.mark_subscribed(&gap.user) {
            return Some(Gap { position, ..gap });
        }
        if gap.is_repair {
            let result =
                if gap.is_lost(page) { GapRepair::Incomplete } else { GapRepair::Complete };
            self.metrics.gaps.of(result).inc();
        }
        None
    }

    async fn check(&mut self) -> RedisResult<()> {
        let Self { pubsub, reads, metrics, .. } = self;
        let both = async { tokio::try_join!(pubsub.check(), reads.check()) };
        let timer = metrics.redis_round_trip.start_timer();
        match time::timeout(CHECK_TIMEOUT, both).await {
            Ok(answered) => answered.map(|_| timer.observe_duration()),
            Err(_) => Err(disconnected()),
        }
    }

    fn count(&self) {
        let subscribed = i64::try_from(self.subscribed.len()).unwrap_or(i64::MAX);
        self.metrics.subscriptions.set(subscribed);
    }
}

fn disconnected() -> RedisError {
    (ErrorKind::Io, "the connection is gone or silent").into()
}
