//! What the hub needs of a socket to write to it.

use std::fmt;

/// The maximum number of frames in one write.
pub const MAX_FRAMES: usize = 64;

/// The number of frames that are written without an allocation: most writes have one frame.
pub(crate) const INLINE_FRAMES: usize = 4;

/// A socket that others than the connection's task can write to.
pub trait SocketWriter: fmt::Debug + Send + Sync {
    /// Writes each text as a frame, as far as the socket takes them without waiting; at most
    /// [`MAX_FRAMES`] texts.
    fn try_write(&self, texts: &[&str]) -> Written;
}

/// The result of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The number of frames that the socket has taken.
    pub frames: usize,
    /// Whether the last of them was taken in part: the rest is sent when the task flushes.
    pub is_partial: bool,
}
