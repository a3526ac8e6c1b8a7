//! The Redis streams: what a user missed. Reads after a position, and says whether the stream
//! still reaches back to it. The subscriber closes gaps with it, a connection resumes with it.

mod page;

use std::{sync::Arc, time::Duration};

use redis::{
    Cmd, RedisError, RedisResult, Value, cmd, from_redis_value, streams::StreamId,
    streams::StreamRangeReply,
};
use shared::{
    keys::{Keys, STREAM_FIELD},
    redis::RedisConnection,
    user::UserId,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::protocol::{Frame, Position};
use page::PAGE_ENTRIES;
pub(super) use page::Page;

/// Most pages read for one client, several times the default length of a stream.
const MAX_PAGES: usize = 64;

/// How long a client waits for its past while Redis is away; after that it is told to reload.
const RESUME_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a user without history can resume. As long as histories are kept by default, and any
/// other time would be right as well: a mark that is gone shows nothing.
const START_LIFETIME: Duration = Duration::from_hours(24);

const NEWEST: &str = include_str!("history/newest.lua");

/// Reads, for each user, the page that starts at a position; in one round trip.
///
/// # Errors
/// When Redis does not answer. What is no stream counts as an empty one.
pub(super) async fn read(
    commands: &RedisConnection,
    keys: &Keys,
    from: impl Iterator<Item = (&UserId, Position)> + Clone,
) -> RedisResult<Vec<Page>> {
    let mut reads = Vec::new();
    for (user, position) in from.clone() {
        let (key, start) = (keys.stream(user), position.to_string());
        let mut range = cmd("XRANGE");
        range.arg(key).arg(start).arg("+").arg("COUNT").arg(PAGE_ENTRIES);
        reads.push(range);
        if position.is_start() {
            reads.push(Cmd::get(keys.start(user)));
        }
    }
    let mut replies = commands.run(reads).await?.into_iter();
    let mut pages = Vec::new();
    for (_, after) in from {
        let entries = entries(replies.next().unwrap_or(Ok(Value::Nil)))?;
        let mark = if after.is_start() { replies.next().transpose()? } else { None };
        let mark: Option<String> = mark.and_then(|mark| from_redis_value(mark).ok());
        pages.push(Page::new(after, entries, mark.as_deref()));
    }
    Ok(pages)
}

/// The newest position of each user's stream; in one round trip. A user without history gets a
/// position to resume from all the same.
///
/// # Errors
/// As [`read`].
pub(super) async fn newest(
    commands: &RedisConnection,
    keys: &Keys,
    users: impl Iterator<Item = &UserId>,
) -> RedisResult<Vec<Position>> {
    let newest = |user| {
        let mut newest = cmd("EVAL");
        newest
            .arg(NEWEST)
            .arg(2)
            .arg(keys.stream(user))
            .arg(keys.start(user))
            .arg(Position::random_start().to_string())
            .arg(START_LIFETIME.as_millis().to_string());
        newest
    };
    let replies = commands.run(users.map(newest).collect()).await?;
    let newest = |reply: RedisResult<Value>| match reply {
        Ok(position) => {
            Ok(from_redis_value::<String>(position)?.parse().unwrap_or(Position::START))
        }
        Err(error) if is_no_stream(&error) => Ok(Position::START),
        Err(error) => Err(error),
    };
    replies.into_iter().map(newest).collect()
}

/// Somebody else's key, or a user whose keys a cluster cannot keep together: one user without
/// history must not hold up all others.
fn is_no_stream(error: &RedisError) -> bool {
    matches!(error.code(), Some("WRONGTYPE" | "CROSSSLOT"))
}

fn entries(reply: RedisResult<Value>) -> RedisResult<Vec<(Position, Option<Frame>)>> {
    let entries = match reply {
        Ok(Value::Nil) => Vec::new(),
        Ok(reply) => from_redis_value::<StreamRangeReply>(reply)?.ids,
        Err(error) if is_no_stream(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    let read = |entry: StreamId| {
        let position: Position = entry.id.parse().ok()?;
        let text: Option<String> = entry.get(STREAM_FIELD);
        Some((position, text.and_then(|text| Frame::stored(position, &text))))
    };
    Ok(entries.into_iter().filter_map(read).collect())
}

/// Most clients whose past is read at once: when everybody comes back, the answers that are
/// under way must not keep the connection from showing that it lives.
const MAX_READS: usize = 64;

/// What a client missed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Whether these are all notifications since the client's position.
    pub complete: bool,
    /// Up to where the client has everything then, if that can be said.
    pub newest: Option<Position>,
    /// The notifications, in order.
    pub frames: Vec<Frame>,
}

/// Reads what clients missed, over the connection that the subscriber keeps open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    keys: Keys,
    connection: watch::Receiver<Option<RedisConnection>>,
    reads: Arc<Semaphore>,
}

impl History {
    /// Reads over `connection`, while there is one.
    #[must_use]
    pub fn new(keys: Keys, connection: watch::Receiver<Option<RedisConnection>>) -> Self {
        Self { keys, connection, reads: Arc::new(Semaphore::new(MAX_READS)) }
    }

    /// Whether Redis answers; known from checks that the subscriber makes all the time.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// What `user` missed since `position`, until `is_enough` says at the end of the stream that
    /// nothing more is to be read. While Redis is away it tries again for some seconds; then the
    /// answer is incomplete.
    pub async fn since(
        &self,
        user: &UserId,
        position: Position,
        is_enough: impl Fn() -> bool,
    ) -> Missed {
        let mut missed = Missed { complete: true, ..Missed::default() };
        let read = self.read_all(user, position, is_enough, &mut missed);
        if timeout(RESUME_TIMEOUT, read).await.is_err() {
            missed.complete = false;
        }
        if !missed.complete {
            // The client's own position may be ahead of all that will come.
            missed.newest = missed.frames.last().and_then(|frame| frame.position);
        }
        missed
    }

    async fn read_all(
        &self,
        user: &UserId,
        mut position: Position,
        is_enough: impl Fn() -> bool,
        missed: &mut Missed,
    ) {
        for _ in 0..MAX_PAGES {
            let page = self.page(user, position).await;
            missed.complete &= page.reaches_back;
            missed.frames.extend(page.frames);
            position = page.newest;
            missed.newest = Some(position);
            if !page.more && is_enough() {
                return;
            }
        }
        missed.complete = false;
    }

    async fn page(&self, user: &UserId, position: Position) -> Page {
        let mut connections = self.connection.clone();
        loop {
            let connection =
                connections.wait_for(Option::is_some).await.ok().and_then(|c| c.clone());
            let Some(connection) = connection else {
                // The subscriber has ended, and so will this connection.
                std::future::pending().await
            };
            // The semaphore is never closed.
            let permit = self.reads.acquire().await;
            let pages = read(&connection, &self.keys, std::iter::once((user, position))).await;
            drop(permit);
            match pages {
                Ok(mut pages) if !pages.is_empty() => return pages.swap_remove(0),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, user.id = %user, "history not read"),
            }
            // The subscriber notices a dead connection within seconds.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
