//! One page of a user's stream, and whether frames are missing before it.

mod range;

use std::time::SystemTime;

use redis::{Cmd, RedisResult, Value, cmd};
use shared::{keys::Keys, user::UserId};

use super::super::{
    positions::RedisClock,
    reply::{UserReply, items, text, user_reply},
};
use crate::{
    metrics::RedisUserError,
    protocol::{Frame, Position},
};
pub(in crate::redis) use range::StreamSize;
use range::{Range, size_command};

const MARKS: &str = include_str!("marks.lua");

/// The number of entries in the first page of a user, before their size is known.
pub(in crate::redis) const FIRST_PAGE_ENTRIES: usize = 8;

/// The maximum number of entries in a page: enough for most gaps.
pub(in crate::redis) const MAX_PAGE_ENTRIES: usize = 64;

/// A page to read: at most `count` entries of a user's stream, from a position on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redis) struct PageRequest {
    pub(in crate::redis) user: UserId,
    pub(in crate::redis) after: Position,
    pub(in crate::redis) count: usize,
    /// The maximum size of its notifications, where there are several.
    pub(in crate::redis) max_bytes: usize,
    /// The size of the stream, once it is known.
    pub(in crate::redis) size: StreamSize,
}

/// The part of a user's stream from a position on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::redis) struct Page {
    /// Whether nothing is missing between the position and the first frame.
    pub(in crate::redis) reaches_back: bool,
    /// Whether the stream has no entry at the position or after it.
    pub(in crate::redis) is_empty: bool,
    /// The notifications after the position.
    pub(in crate::redis) frames: Vec<Frame>,
    /// Where the next page starts.
    pub(in crate::redis) newest: Position,
    /// Whether there may be a next page.
    pub(in crate::redis) more: bool,
    /// The number of entries that are not notifications, or too large.
    pub(in crate::redis) malformed: usize,
    /// The size of the stream.
    pub(in crate::redis) size: StreamSize,
}

/// What Redis keeps about the positions of a user in addition to the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    /// The user's newest position.
    newest: Option<Position>,
    /// The position before the first entry of the present stream, and that entry.
    start: Option<(Position, Position)>,
}

impl PageRequest {
    /// Requests the first page after a position.
    pub(in crate::redis) fn first(user: UserId, after: Position, max_bytes: usize) -> Self {
        Self { user, after, count: FIRST_PAGE_ENTRIES, max_bytes, size: StreamSize::Unknown }
    }

    /// Requests the page after `page`, with as many entries as fit into `max_bytes` if they are
    /// like those of `page`.
    #[must_use]
    pub(in crate::redis) fn next(self, page: &Page) -> Self {
        let count = (self.max_bytes / page.average_bytes().max(1)).clamp(2, MAX_PAGE_ENTRIES);
        Self { after: page.newest, count, size: page.size, ..self }
    }

    /// Returns the command that reads the size of the stream; none if it is known.
    pub(in crate::redis) fn size_command(&self, keys: &Keys) -> Option<Cmd> {
        (self.size == StreamSize::Unknown).then(|| size_command(keys.stream(&self.user)))
    }

    /// Takes the reply to [`PageRequest::size_command`].
    ///
    /// # Errors
    /// If the reply concerns every user.
    pub(in crate::redis) fn set_size(&mut self, reply: RedisResult<Value>) -> RedisResult<()> {
        self.size = StreamSize::read(reply)?;
        Ok(())
    }

    /// The commands that read the page; [`Page::read`] takes their replies. The marks are read
    /// first, so that a notification that is published in between can only show up in the stream.
    pub(in crate::redis) fn commands(&self, keys: &Keys) -> [Cmd; 2] {
        let mut marks = cmd("EVAL");
        marks.arg(MARKS).arg(2).arg(keys.position(&self.user)).arg(keys.start(&self.user));
        let Self { user, after, count, max_bytes, size } = self;
        [marks, size.range_command(keys.stream(user), *after, *count, *max_bytes)]
    }
}

impl Page {
    /// Reads the replies to [`PageRequest::commands`].
    ///
    /// # Errors
    /// If a reply concerns every user.
    pub(in crate::redis) fn read(
        [marks, range]: [RedisResult<Value>; 2],
        &PageRequest { after, count, size, .. }: &PageRequest,
        clock: &RedisClock,
    ) -> RedisResult<UserReply<Self>> {
        let marks = user_reply(marks)?.map(Marks::read).unwrap_or_default();
        let range = match user_reply(range)?.map(|reply| size.read_range(reply, count)) {
            Ok(Some(range)) => range,
            Ok(None) => return Ok(Err(RedisUserError::Unreadable)),
            Err(kind) => return Ok(Err(kind)),
        };
        let Range { mut entries, more, unreadable, has_too_large } = range;
        let (now, readable) = (SystemTime::now(), entries.len());
        entries.retain(|(position, _)| clock.has_reached(*position, now));
        // An entry from the future may be a notification, which the client misses.
        let is_whole = entries.len() == readable && !has_too_large;
        let malformed = unreadable + readable - entries.len();
        // Without it, a page with nothing readable after the position would be read without end.
        let more = more && entries.last().is_some_and(|(newest, _)| *newest > after);
        let mut page = Self::new(after, entries, marks, more, malformed);
        page.reaches_back &= is_whole;
        page.size = size;
        Ok(Ok(page))
    }

    /// Returns the size of its notifications.
    pub(in crate::redis) fn bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.text.len()).sum()
    }

    /// Returns the average size of its notifications.
    pub(in crate::redis) fn average_bytes(&self) -> usize {
        self.bytes().div_ceil(self.frames.len().max(1))
    }

    /// Leaves frames beyond `max_bytes` to the next page, but for the first one.
    pub(in crate::redis) fn truncate(&mut self, max_bytes: usize) {
        let mut bytes = 0;
        let fitting = self.frames.iter().take_while(|frame| {
            bytes += frame.text.len();
            bytes <= max_bytes
        });
        let kept = fitting.count().max(1);
        if let Some(last) = self.frames.get(..kept).and_then(<[Frame]>::last)
            && let Some(position) = last.position
            && kept < self.frames.len()
        {
            (self.newest, self.more) = (position, true);
            self.frames.truncate(kept);
        }
    }

    fn new(
        after: Position,
        entries: Vec<(Position, Option<Frame>)>,
        marks: Marks,
        more: bool,
        malformed: usize,
    ) -> Self {
        let first = entries.first().map(|(first, _)| *first);
        let reaches_back = first == Some(after)
            || marks.newest == Some(after)
            || first.is_some_and(|first| marks.start == Some((after, first)));
        let (is_empty, newest) = (first.is_none(), entries.last().map_or(after, |(last, _)| *last));
        let missed: Vec<Option<Frame>> = entries
            .into_iter()
            .filter(|(position, _)| *position > after)
            .map(|(_, frame)| frame)
            .collect();
        let malformed = malformed + missed.iter().filter(|frame| frame.is_none()).count();
        let frames = missed.into_iter().flatten().collect();
        let size = StreamSize::Unknown;
        Self { reaches_back, is_empty, frames, newest, more, malformed, size }
    }
}

impl Marks {
    fn read(value: Value) -> Self {
        let marks = items(value).unwrap_or_default();
        let mark = |index: usize| marks.get(index).and_then(text);
        let start = mark(1).and_then(|mark| mark.split_once(' '));
        Self {
            newest: mark(0).and_then(|newest| newest.parse().ok()),
            start: start.and_then(|(before, first)| before.parse().ok().zip(first.parse().ok())),
        }
    }
}

#[cfg(test)]
mod tests;
