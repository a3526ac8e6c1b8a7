//! The Redis streams: what a user missed. Reads after a position, and says whether the stream
//! still reaches back to it. The subscriber closes gaps with it, a connection resumes with it.

use std::{sync::Arc, time::Duration};

use redis::{
    Cmd, RedisResult, Value, cmd, from_redis_value, streams::StreamId, streams::StreamRangeReply,
};
use shared::{
    keys::{Keys, STREAM_FIELD},
    redis::Commands,
    user::UserId,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::{frame::Frame, position::Position};

/// Most entries read at once: enough for most gaps, and small enough that the answer for a batch
/// of users stays in the megabytes.
const PAGE_ENTRIES: usize = 64;

/// Most pages read for one client, several times the default length of a stream.
const MAX_PAGES: usize = 64;

/// How long a client waits for its past while Redis is away; after that it is told to reload.
const RESUME_TIMEOUT: Duration = Duration::from_secs(10);

/// A part of a user's stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Whether the entry at the position is still there. Entries go oldest first, so that none
    /// after it is missing. A position without an entry shows nothing: what stood between may
    /// have been trimmed, flushed, or lost in a failover.
    pub reaches_back: bool,
    /// Whether the stream has nothing at the position or after it.
    pub is_empty: bool,
    /// The notifications after the position.
    pub frames: Vec<Frame>,
    /// Where to read on.
    pub newest: Position,
    /// Whether there may be more.
    pub more: bool,
    /// Entries that are no notification.
    pub malformed: usize,
}

impl Page {
    /// Judges the entries at `after` and behind it, as far as they were read.
    fn new(after: Position, entries: Vec<(Position, Option<Frame>)>) -> Self {
        let reaches_back = entries.first().is_some_and(|(first, _)| *first == after);
        let newest = entries.last().map_or(after, |(last, _)| *last);
        let (is_empty, more) = (entries.is_empty(), entries.len() >= PAGE_ENTRIES);
        let missed = entries.into_iter().filter(|(position, _)| *position > after);
        let frames: Vec<Option<Frame>> = missed.map(|(_, frame)| frame).collect();
        let malformed = frames.iter().filter(|frame| frame.is_none()).count();
        let frames = frames.into_iter().flatten().collect();
        Self { reaches_back, is_empty, frames, newest, more, malformed }
    }
}

/// Reads, for each user, the page that starts at a position; in one round trip.
///
/// # Errors
/// When Redis does not answer. What is no stream counts as an empty one.
pub async fn read(
    commands: &Commands,
    keys: &Keys,
    from: impl Iterator<Item = (&UserId, Position)> + Clone,
) -> RedisResult<Vec<Page>> {
    let range = |(user, position): (&UserId, Position)| {
        let (key, start) = (keys.stream(user), position.to_string());
        command("XRANGE", [&key, &start, "+"], PAGE_ENTRIES)
    };
    let replies = commands.run(from.clone().map(range).collect()).await?;
    from.zip(replies).map(|((_, after), reply)| Ok(Page::new(after, entries(reply)?))).collect()
}

/// The newest position of each user's stream; in one round trip.
///
/// # Errors
/// As [`read`].
pub async fn newest(
    commands: &Commands,
    keys: &Keys,
    users: impl Iterator<Item = &UserId>,
) -> RedisResult<Vec<Position>> {
    let range = |user| command("XREVRANGE", [&keys.stream(user), "+", "-"], 1);
    let replies = commands.run(users.map(range).collect()).await?;
    let newest = |reply| Ok(entries(reply)?.first().map_or(Position::START, |(id, _)| *id));
    replies.into_iter().map(newest).collect()
}

fn command(name: &str, arguments: [&str; 3], most: usize) -> Cmd {
    let mut command = cmd(name);
    command.arg(&arguments).arg("COUNT").arg(most);
    command
}

fn entries(reply: RedisResult<Value>) -> RedisResult<Vec<(Position, Option<Frame>)>> {
    let entries = match reply {
        Ok(reply) => from_redis_value::<StreamRangeReply>(reply)?.ids,
        // Somebody else's key: one user without history must not hold up all others.
        Err(error) if error.code() == Some("WRONGTYPE") => Vec::new(),
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
    connection: watch::Receiver<Option<Commands>>,
    reads: Arc<Semaphore>,
}

impl History {
    /// Reads over `connection`, while there is one.
    #[must_use]
    pub fn new(keys: Keys, connection: watch::Receiver<Option<Commands>>) -> Self {
        Self { keys, connection, reads: Arc::new(Semaphore::new(MAX_READS)) }
    }

    /// Whether Redis answers; known from checks that the subscriber makes all the time.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.connection.borrow().is_some()
    }

    /// What `user` missed since `position`. While Redis is away it tries again for some seconds;
    /// then the answer is incomplete.
    pub async fn since(&self, user: &UserId, position: Position) -> Missed {
        let mut missed = Missed { complete: true, ..Missed::default() };
        let read = self.read_all(user, position, &mut missed);
        if timeout(RESUME_TIMEOUT, read).await.is_err() {
            missed.complete = false;
        }
        if !missed.complete {
            // The client's own position may be ahead of all that will come.
            missed.newest = missed.frames.last().and_then(|frame| frame.position);
        }
        missed
    }

    async fn read_all(&self, user: &UserId, mut position: Position, missed: &mut Missed) {
        for _ in 0..MAX_PAGES {
            let page = self.page(user, position).await;
            missed.complete &= page.reaches_back;
            missed.frames.extend(page.frames);
            position = page.newest;
            missed.newest = Some(position);
            if !page.more {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        text.parse().unwrap()
    }

    fn page(after: &str, stream: &[&str]) -> Page {
        let after = position(after);
        let entries = stream.iter().map(|id| position(id)).filter(|id| *id >= after);
        Page::new(after, entries.map(|id| (id, Frame::stored(id, "{\"event\":1}"))).collect())
    }

    fn ids(page: &Page) -> Vec<String> {
        page.frames.iter().map(|frame| frame.position.unwrap().to_string()).collect()
    }

    #[test]
    fn a_stream_that_still_has_the_position_reaches_back() {
        let page = page("2-0", &["1-0", "2-0", "2-1", "3-0"]);
        assert!(page.reaches_back && !page.more);
        assert_eq!(ids(&page), ["2-1", "3-0"]);
        assert_eq!(page.newest, position("3-0"));
    }

    #[test]
    fn the_newest_position_has_missed_nothing() {
        let page = page("3-0", &["1-0", "3-0"]);
        assert!(page.reaches_back && page.frames.is_empty() && !page.is_empty);
    }

    #[test]
    fn nothing_is_shown_by_a_position_without_an_entry() {
        // Trimmed, ahead of the stream, lost in a failover, gone, and never there.
        for (after, stream) in [
            ("1-0", &["2-0", "3-0"][..]),
            ("9-0", &["2-0", "3-0"]),
            ("2-5", &["2-0", "3-0"]),
            ("2-0", &[]),
            ("0-0", &["2-0"]),
            ("0-0", &[]),
        ] {
            assert!(!page(after, stream).reaches_back, "{after} in {stream:?}");
        }
        assert_eq!(ids(&page("1-0", &["2-0", "3-0"])), ["2-0", "3-0"]);
        assert!(page("9-0", &["2-0"]).is_empty);
    }

    #[test]
    fn a_full_page_is_read_on_from_its_end() {
        let entries = |n| (1..=n).map(|seq| (position(&format!("1-{seq}")), None)).collect();
        let page = Page::new(position("1-1"), entries(PAGE_ENTRIES));
        assert!(page.more && page.malformed == PAGE_ENTRIES - 1);
        assert_eq!(page.newest, position(&format!("1-{PAGE_ENTRIES}")));
        assert!(!Page::new(position("1-1"), entries(PAGE_ENTRIES - 1)).more);
    }
}
