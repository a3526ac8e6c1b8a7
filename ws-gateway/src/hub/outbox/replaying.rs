//! The queue of a connection whose history is being replayed: what the queue has no room for is read
//! from the stream.

use super::{Item, Outbox, State};

impl Outbox {
    /// Begins a replay: until [`Outbox::end_replay`] returns true, or the queue is drained, a full
    /// queue does not close the connection.
    pub(crate) fn begin_replay(&self) {
        self.state().replaying = Some(false);
    }

    /// Ends the replay if the queue continues where it stopped. Returns false if frames were
    /// dropped since the last call: they have to be read from the stream.
    #[must_use]
    pub(crate) fn end_replay(&self) -> bool {
        let mut state = self.state();
        let continues = state.replaying.replace(false) != Some(true);
        if continues {
            state.replaying = None;
        }
        continues
    }
}

impl State {
    /// Makes room during a replay by dropping frames that the stream has too.
    pub(super) fn drop_stored(&mut self) {
        if let Some(dropped) = &mut self.replaying {
            *dropped = true;
            let recent = &mut self.recent;
            self.queue.retain(|item| match item {
                Item::Frame(frame) if frame.position.is_some() => {
                    recent.remove(frame);
                    false
                }
                _ => true,
            });
            self.bytes = self.queue.iter().map(Item::bytes).sum();
        }
    }
}
