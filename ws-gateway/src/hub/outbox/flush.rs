//! Writes a queue to its socket without waking the connection's task, which costs more than the
//! write itself. The task does what the socket does not take at once.

use std::{collections::VecDeque, mem, sync::Arc};

use smallvec::SmallVec;

use super::{
    Drained, Item, Outbox,
    socket_writer::{INLINE_FRAMES, MAX_FRAMES, SocketWriter, Written},
};

impl Outbox {
    /// Allows [`Outbox::flush`].
    pub(crate) fn set_writer(&self, writer: Arc<dyn SocketWriter>) {
        self.state().writer = Some(writer);
    }

    /// Forbids [`Outbox::flush`] until the connection's task waits in [`Outbox::due`] again.
    pub(crate) fn begin_write(&self) {
        let mut state = self.state();
        state.is_idle = false;
        state.is_writing = true;
    }

    /// Writes the queue while the connection's task waits. Returns what was written; the task is
    /// woken for the rest.
    pub(crate) fn flush(&self) -> Drained {
        let mut state = self.state();
        let state = &mut *state;
        let Some(writer) = state.writer.as_ref().filter(|_| state.is_idle) else {
            // The task looks at the queue before it waits again.
            return Drained::default();
        };
        let Written { frames, is_partial } = write_front(&state.queue, &**writer);
        let due = state.due;
        let items = if frames == state.queue.len() {
            state.due = None;
            state.bytes = 0;
            mem::take(&mut state.queue)
        } else {
            let items = state.queue.drain(..frames).collect();
            state.bytes = state.queue.iter().map(Item::bytes).sum();
            items
        };
        if is_partial || !state.queue.is_empty() {
            state.is_idle = false;
            state.due = due;
            state.wake();
        }
        Drained { items, due }
    }
}

/// Writes the frames up to the first item that needs the task.
fn write_front(queue: &VecDeque<Item>, writer: &dyn SocketWriter) -> Written {
    let frames = queue.iter().map_while(Item::plain_text).take(MAX_FRAMES);
    let texts: SmallVec<[&str; INLINE_FRAMES]> = frames.collect();
    if texts.is_empty() { Written::default() } else { writer.try_write(&texts) }
}

impl Item {
    /// Returns the text of a frame that needs nothing else than being written.
    pub(super) fn plain_text(&self) -> Option<&str> {
        match self {
            Self::Frame(frame) if frame.trace_context.is_none() => Some(&frame.text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
