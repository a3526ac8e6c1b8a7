//! The Redis side of the gateway: subscriptions, history and revocations.
//!
//! Blast radius: a server error or an odd value in a reply about one user concerns that user only.
//! It degrades the user, is counted by kind and is retried with a back-off of its own. Errors of
//! the connection or of the whole server end the session, and the subscriber reconnects.

mod backend;
mod balance;
mod channels;
pub(crate) mod check;
mod history;
mod operators;
mod outage;
mod positions;
mod probe;
mod push_handler;
mod read_state;
mod reply;
mod retries;
mod revocations;
mod session;
mod stream_reader;
mod subscriber;

pub(crate) use balance::RebalanceSettings;
pub(crate) use history::History;
pub(crate) use operators::{Answers, ask};
pub(crate) use revocations::revoke;
pub use subscriber::Subscriber;
