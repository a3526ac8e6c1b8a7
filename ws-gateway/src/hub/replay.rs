//! What a connection is sent before live frames: pages of the user's history.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};

use crate::protocol::{Frame, Position, ReadSummary, Resume};

/// The position that a client resumes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ResumeFrom {
    /// It gave none.
    #[default]
    Now,
    /// It has everything up to here.
    Position(Position),
    /// What it gave is not a position.
    Invalid,
}

impl ResumeFrom {
    /// Reads what a client gave; an empty text is none.
    pub(crate) fn read(text: &str) -> Self {
        if text.is_empty() {
            return Self::Now;
        }
        text.parse().map_or(Self::Invalid, Self::Position)
    }
}

/// A part of the history. The next page is read once this one is on the socket.
#[derive(Debug, PartialEq, Eq)]
pub struct ReplayPage {
    /// On the first page, the result of the resume; on later ones, `Incomplete` if frames between
    /// the pages were lost.
    pub(crate) resume: Resume,
    /// The frames, in order.
    pub(crate) frames: Vec<Frame>,
    /// The position up to which queued frames are duplicates.
    pub(crate) replayed_to: Option<Position>,
    /// Whether live frames follow.
    pub(crate) is_last: bool,
    /// On the first page, what the user has read, if that is known.
    pub(crate) read: Option<ReadSummary>,
}

impl ReplayPage {
    /// Returns the only page of a client that is sent no history.
    #[must_use]
    pub fn without_history(resume: Resume) -> Self {
        Self { resume, frames: Vec::new(), replayed_to: None, is_last: true, read: None }
    }
}

/// Adds to the first page what the user has read: counted after the subscription, so that the
/// client is sent every later notification.
pub(crate) fn with_read_state(
    mut replay: Replay,
    read: impl Future<Output = Option<ReadSummary>> + Send + 'static,
) -> Replay {
    let first = async move {
        let page = replay.next().await;
        let read = read.await;
        let first = page.map(|page| ReplayPage { read, ..page });
        stream::iter(first).chain(replay)
    };
    Box::pin(stream::once(first).flatten())
}

/// The pages of one connection, at least one. It begins when the user is subscribed.
pub type Replay = Pin<Box<dyn Stream<Item = ReplayPage> + Send>>;
