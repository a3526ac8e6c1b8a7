//! What the commands and scripts need of the server that runs them.

use std::fmt;

use super::store::{Id, Refusal, Store};

/// What a command may be refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// It needs memory: refused when there is none left, and on a replica.
    AddsMemory,
    /// It only frees memory or publishes: refused on a replica.
    Other,
}

/// What a user has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// The position up to which the user has read.
    pub up_to: Id,
    /// The number of notifications after it in the history.
    pub unread: usize,
    /// Whether the history has all of them.
    pub exact: bool,
    /// The newest position of the user.
    pub newest: Id,
}

impl fmt::Display for ReadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { up_to, unread, exact, newest } = self;
        write!(f, r#"{{"up_to":"{up_to}","unread":{unread},"exact":{exact},"#)?;
        write!(f, r#""last_event_id":"{newest}"}}"#)
    }
}

/// A database, and the state of its server that commands depend on.
pub trait Database {
    /// Returns the keys.
    fn store(&mut self) -> &mut Store;

    /// Refuses a command in the state that the server is in.
    ///
    /// # Errors
    /// The error of the server.
    fn allow(&mut self, write: Write) -> Result<(), Refusal>;

    /// Publishes a message; returns the number of receivers.
    ///
    /// # Errors
    /// If the server refuses.
    fn publish(&mut self, channel: &str, message: &[u8]) -> Result<i64, Refusal>;

    /// Takes a message that is stored for a channel, and published to no subscriber.
    fn stored(&mut self, channel: &str, message: &[u8]);

    /// Takes the read state of the user with this stream, as a script has counted it.
    fn counted(&mut self, stream: &str, state: &ReadState);

    /// Takes that the newest position of the user with this stream was refused.
    fn position_refused(&mut self, stream: &str);

    /// Whether the scripts are loaded under their hashes.
    fn has_scripts(&mut self) -> bool;

    /// Loads the scripts.
    fn load_scripts(&mut self);
}
