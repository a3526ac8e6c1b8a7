//! The read state of a user: what the user has read, on any device.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::position::Position;

/// The `event` of a frame with a read state.
pub const READ_STATE_EVENT: &str = "read_state";

/// How the text of a frame with a read state begins, as `read_state.lua` writes it.
pub(super) const READ_STATE_HEAD: &str = r#"{"event":"read_state","#;

/// What a user has read.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct ReadState {
    /// The position up to which the user has read; `0-0`: nothing.
    pub up_to: Position,
    /// The number of notifications after `up_to` that the history holds.
    pub unread: u64,
    /// Whether that is the number of all; false if the history no longer reaches back to `up_to`.
    pub exact: bool,
    /// The newest notification that was counted: a client adds those after it.
    pub last_event_id: Position,
}

/// The read state in the first frame of a connection.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReadSummary {
    /// The number of notifications after `read_up_to` that the history holds.
    pub unread: u64,
    /// The position up to which the user has read; `0-0`: nothing.
    pub read_up_to: Position,
    /// Whether `unread` is the number of all; false if the history no longer reaches back to
    /// `read_up_to`.
    pub exact: bool,
    /// The newest notification that was counted: a client adds those after it.
    pub counted_to: Position,
}

impl ReadSummary {
    /// Reads a read state as `read_state.lua` returns it; none if it is not one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let ReadState { up_to, unread, exact, last_event_id } = serde_json::from_str(text).ok()?;
        Some(Self { unread, read_up_to: up_to, exact, counted_to: last_event_id })
    }

    /// Reads a frame with a read state; none if the text is another frame.
    pub(crate) fn of_frame(text: &str) -> Option<Self> {
        let data = text.strip_prefix(READ_STATE_HEAD)?.strip_prefix(r#""data":"#)?;
        Self::read(data.strip_suffix('}')?)
    }

    /// Returns a frame with this read state.
    pub(crate) fn to_frame(&self) -> Utf8Bytes {
        let Self { unread, read_up_to: up_to, exact, counted_to: last_event_id } = *self;
        let data = &ReadState { up_to, unread, exact, last_event_id };
        let frame = ReadStateFrame { event: READ_STATE_EVENT, data };
        serde_json::to_string(&frame).expect("positions and numbers serialise").into()
    }
}

/// A frame with a read state. It is sent to each connection of the user whenever the state is
/// requested or changes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReadStateFrame<'a> {
    /// Always [`READ_STATE_EVENT`].
    event: &'static str,
    /// The read state.
    data: &'a ReadState,
}
