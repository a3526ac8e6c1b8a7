//! How entries are read from a stream: as they are, or through a script where they may be too large
//! for the memory of the gateway, as other software may have written any.

use redis::{Cmd, RedisResult, Value, cmd};
use shared::keys::STREAM_FIELD;

use crate::{
    protocol::{Frame, Position},
    redis::reply::{items, text, user_reply},
};

const PAGE: &str = include_str!("../page.lua");

/// The maximum size of a stream that is read without the script, which costs five times as much of
/// Redis: four times a history of 256 notifications of 1 KiB.
const SMALL_STREAM_BYTES: i64 = 1 << 20;

/// The maximum size of a text that is read: the largest notification of a worker, 1 MiB, and what
/// is added to it.
const MAX_TEXT_BYTES: usize = (1 << 20) + (64 << 10);

/// The size of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::redis) enum StreamSize {
    #[default]
    Unknown,
    /// Any of its pages fits into memory.
    Small,
    Large,
}

/// The entries of a page.
#[derive(Debug, Default)]
pub(super) struct Range {
    /// Positions, each with the frame of a notification.
    pub(super) entries: Vec<(Position, Option<Frame>)>,
    /// Whether there may be a next page.
    pub(super) more: bool,
    /// The number of entries without a readable position.
    pub(super) unreadable: usize,
    /// Whether a text was not read because of its size. It may be a notification.
    pub(super) has_too_large: bool,
}

/// Returns the command whose reply [`StreamSize::read`] takes.
pub(super) fn size_command(stream: String) -> Cmd {
    let mut usage = cmd("MEMORY");
    usage.arg("USAGE").arg(stream).arg("SAMPLES").arg(0);
    usage
}

impl StreamSize {
    /// Reads the size of a stream. Where Redis refuses to tell it, the stream may be large.
    ///
    /// # Errors
    /// If the reply concerns every user.
    pub(super) fn read(reply: RedisResult<Value>) -> RedisResult<Self> {
        Ok(match user_reply(reply)? {
            Ok(Value::Int(..=SMALL_STREAM_BYTES) | Value::Nil) => Self::Small,
            _ => Self::Large,
        })
    }

    /// Returns the command that reads at most `count` entries from a position on.
    pub(super) fn range_command(
        self,
        stream: String,
        after: Position,
        count: usize,
        max_bytes: usize,
    ) -> Cmd {
        let after = after.to_string();
        if self == Self::Small {
            let mut range = cmd("XRANGE");
            range.arg(stream).arg(after).arg("+").arg("COUNT").arg(count);
            return range;
        }
        let mut script = cmd("EVAL");
        script.arg(PAGE).arg(1).arg(stream).arg(STREAM_FIELD).arg(after);
        script.arg(count).arg(max_bytes).arg(MAX_TEXT_BYTES);
        script
    }

    /// Reads the reply to [`StreamSize::range_command`]; none if it is something else.
    pub(super) fn read_range(self, reply: Value, count: usize) -> Option<Range> {
        let items = items(reply)?;
        if self != Self::Small {
            return scripted(&items);
        }
        let entries: Vec<_> = items.iter().filter_map(entry).collect();
        let (more, unreadable) = (items.len() >= count, items.len() - entries.len());
        Some(Range { entries, more, unreadable, has_too_large: false })
    }
}

/// Reads the reply of the script.
fn scripted(reply: &[Value]) -> Option<Range> {
    let (Value::Int(more), entries) = reply.split_first()? else { return None };
    let mut range = Range { more: *more == 1, ..Range::default() };
    for pair in entries.chunks_exact(2) {
        let Some(position) = text(&pair[0]).and_then(|id| id.parse().ok()) else {
            range.unreadable += 1;
            continue;
        };
        range.has_too_large |= matches!(pair[1], Value::Int(_));
        range.entries.push((position, frame(position, &pair[1])));
    }
    Some(range)
}

/// Returns the position of a stream entry, and its frame if it is a notification.
fn entry(entry: &Value) -> Option<(Position, Option<Frame>)> {
    let Value::Array(parts) = entry else { return None };
    let [id, Value::Array(fields)] = &parts[..] else { return None };
    let position = text(id)?.parse().ok()?;
    let value = fields.chunks_exact(2).find(|pair| text(&pair[0]) == Some(STREAM_FIELD));
    Some((position, value.and_then(|pair| frame(position, &pair[1]))))
}

fn frame(position: Position, value: &Value) -> Option<Frame> {
    Frame::stored(position, text(value)?)
}
