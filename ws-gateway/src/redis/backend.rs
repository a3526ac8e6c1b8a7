//! What a session needs from Redis, and its implementation over real connections.

use std::{collections::HashSet, sync::Arc};

use redis::{RedisResult, Value};
use shared::{
    keys::Keys,
    redis::{Channel, PubSub, RedisClient, RedisConnection},
    user::UserId,
};
use tokio::sync::Notify;
use tracing::debug;

use super::{
    channels::subscribe_each,
    history::{Page, PageRequest, StreamSize},
    operators,
    positions::{RedisClock, newest_position, read_position},
    push_handler::PushHandler,
    reply::UserReply,
    revocations::KnownRevocations,
    stream_reader::StreamReader,
};
use crate::protocol::Position;

/// The operations of a session.
///
/// Each `Err` of type `RedisError` means that the connection or the server failed for every user:
/// frames may have been missed, and the session must end. A failure of one user is an item of the
/// result. Frames of subscribed users go to the hub, outside of these calls.
pub(super) trait Backend {
    /// Subscribes to the channel of each user and returns when that is confirmed or refused.
    async fn subscribe(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<()>>>;

    /// Unsubscribes from the channels of users.
    async fn unsubscribe(&mut self, users: &[UserId]) -> RedisResult<()>;

    /// Checks that the servers reply and still have their roles. When it returns, every frame
    /// that was published before it was called has gone to the hub.
    async fn check(&mut self) -> RedisResult<()>;

    /// Follows slots that have moved to other masters; none if none has. Returns those of the
    /// subscribed users whose channels have to be subscribed again: what was published since may
    /// have been missed, and so may revocations.
    async fn follow_slots(
        &mut self,
        subscribed: &HashSet<UserId>,
    ) -> RedisResult<Option<Vec<UserId>>>;

    /// Whether the channel of a user is subscribed at another master than commands go to: a frame
    /// from there may be on its way for longer than a check takes.
    fn has_moved(&self, user: &UserId) -> bool;

    /// Reads the newest position of each user.
    async fn positions(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<Position>>>;

    /// Reads a page for each request.
    async fn pages(&mut self, requests: &[PageRequest]) -> RedisResult<Vec<UserReply<Page>>>;

    /// Loads the stored revocations.
    async fn load_revocations(&mut self) -> RedisResult<KnownRevocations>;
}

/// The number of checks after which the slot map of a cluster is read again.
const REFRESH_CHECKS: usize = 5;

/// The connections of a session. Subscriptions have one of their own: large replies on a
/// subscribed connection count against the server's output limit for subscribers.
#[derive(Debug)]
pub(super) struct RedisBackend {
    keys: Keys,
    clock: RedisClock,
    pubsub: PubSub,
    connection: RedisConnection,
    pooled: RedisConnection,
    handler: PushHandler,
    /// The channels of revocations, probes and requests of operators.
    own_channels: Vec<Channel>,
    /// The number of checks so far.
    checks: usize,
}

impl RedisBackend {
    /// Connects, checks the servers and subscribes to revocations and probes. `lost` is notified
    /// when a pub/sub connection is lost.
    ///
    /// # Errors
    /// If Redis cannot be used.
    pub(super) async fn connect(
        redis: &RedisClient,
        handler: PushHandler,
        lost: Arc<Notify>,
    ) -> RedisResult<Self> {
        let (keys, clock) = (redis.keys.clone(), handler.clock.clone());
        let (pubsub, connection) =
            redis.connect_with_pubsub(handler.clone().receiver(lost)).await?;
        let pooled = connection.pooled();
        let (own_channels, checks) = (Vec::new(), 0);
        let mut backend =
            Self { keys, clock, pubsub, connection, pooled, handler, own_channels, checks };
        backend.check().await?;
        backend.subscribe_own_channels().await?;
        backend.handler.probe.verify(&backend.connection).await?;
        Ok(backend)
    }

    /// Subscribes to revocations, to a probe of each server and to requests of operators.
    async fn subscribe_own_channels(&mut self) -> RedisResult<()> {
        let mut channels = self.pubsub.channel_of_each_server(&self.keys.probe_channel());
        let probes = channels.iter().map(|channel| channel.name.clone()).collect();
        channels.push(operators::channel(self.keys.revocation_channel()));
        let optional = operators::channels(&self.keys);
        self.own_channels = [&channels[..], &optional].concat();
        self.pubsub.subscribe(channels).await?;
        self.handler.probe.set_channels(probes);
        let replies = subscribe_each(&mut self.pubsub, optional.to_vec()).await?;
        operators::log_refused(&optional, &replies);
        Ok(())
    }

    /// Returns a reader with pooled connections to the same servers: clients that resume must delay
    /// neither subscriptions nor checks.
    pub(super) fn reader(&self) -> StreamReader {
        let Self { pooled, keys, clock, .. } = self;
        StreamReader { connection: pooled.clone(), keys: keys.clone(), clock: clock.clone() }
    }

    fn channel(&self, user: &UserId) -> Channel {
        Channel { name: self.keys.channel(user), slot_key: self.keys.stream(user) }
    }

    fn channels(&self, users: &[UserId]) -> Vec<Channel> {
        users.iter().map(|user| self.channel(user)).collect()
    }
}

impl Backend for RedisBackend {
    async fn subscribe(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<()>>> {
        let channels = self.channels(users);
        subscribe_each(&mut self.pubsub, channels).await
    }

    async fn unsubscribe(&mut self, users: &[UserId]) -> RedisResult<()> {
        self.pubsub.unsubscribe(self.channels(users)).await
    }

    async fn check(&mut self) -> RedisResult<()> {
        let Self { pubsub, connection, clock, checks, .. } = self;
        let changed = pubsub.check().await?;
        *checks += 1;
        // A slot also moves without a new epoch; the masters are asked in turn.
        let asked = changed
            .or_else(|| checks.is_multiple_of(REFRESH_CHECKS).then_some(*checks / REFRESH_CHECKS));
        if asked.is_some()
            && let Err(error) = connection.refresh(asked).await
        {
            debug!(%error, "reading the slot map failed, retrying");
        }
        tokio::try_join!(connection.check(), clock.update(connection)).map(drop)
    }

    async fn follow_slots(
        &mut self,
        subscribed: &HashSet<UserId>,
    ) -> RedisResult<Option<Vec<UserId>>> {
        let next = match self.connection.follow(&self.pubsub).await {
            Ok(Some(next)) => next,
            Ok(None) => return Ok(None),
            Err(error) => {
                debug!(%error, "connecting to the new master of a slot failed, retrying");
                return Ok(None);
            }
        };
        let has_moved = |user: &&UserId| self.pubsub.is_elsewhere_in(&next, &self.channel(user));
        let moved: Vec<UserId> = subscribed.iter().filter(has_moved).cloned().collect();
        let mut channels = self.channels(&moved);
        channels.append(&mut self.own_channels);
        self.pubsub.unsubscribe(channels).await?;
        self.pubsub = next;
        self.subscribe_own_channels().await?;
        Ok(Some(moved))
    }

    fn has_moved(&self, user: &UserId) -> bool {
        self.connection.has_moved(&self.pubsub, &self.channel(user))
    }

    async fn positions(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<Position>>> {
        let commands = users.iter().map(|user| newest_position(&self.keys, user)).collect();
        let (replies, _) = self.connection.run_on_masters(commands).await?;
        replies.into_iter().map(|reply| read_position(reply, &self.clock)).collect()
    }

    async fn pages(&mut self, requests: &[PageRequest]) -> RedisResult<Vec<UserReply<Page>>> {
        read_pages(&self.connection, &self.keys, &self.clock, requests).await
    }

    async fn load_revocations(&mut self) -> RedisResult<KnownRevocations> {
        self.handler.revocations.load(&self.connection, &self.keys).await
    }
}

/// Reads a page for each request, in one round trip, and one more if they are first pages. Those of
/// a replica reach back to no position.
///
/// # Errors
/// If the connection or the server failed.
pub(super) async fn read_pages(
    connection: &RedisConnection,
    keys: &Keys,
    clock: &RedisClock,
    requests: &[PageRequest],
) -> RedisResult<Vec<UserReply<Page>>> {
    let mut requests = requests.to_vec();
    let sizes = requests.iter().filter_map(|request| request.size_command(keys)).collect();
    let mut sizes = connection.run_where_moved(sizes).await?.into_iter();
    for request in requests.iter_mut().filter(|request| request.size == StreamSize::Unknown) {
        request.set_size(sizes.next().unwrap_or(Ok(Value::Nil)))?;
    }
    let commands = requests.iter().flat_map(|request| request.commands(keys));
    let (replies, are_of_masters) = connection.run_on_masters(commands.collect()).await?;
    let mut replies = replies.into_iter();
    let mut reply = || replies.next().unwrap_or(Ok(Value::Nil));
    let page = |request| {
        let replies = [reply(), reply()];
        let page = Page::read(replies, request, clock)?;
        // What a replica has may be old.
        Ok(page.map(|page| Page { reaches_back: page.reaches_back && are_of_masters, ..page }))
    };
    requests.iter().map(page).collect()
}
