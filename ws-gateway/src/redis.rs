//! What the gateway has from Redis: subscriptions, histories and revocations.

mod backoff;
mod history;
mod outage;
mod push_handler;
mod revocations;
mod session;
mod subscriber;

pub use history::{History, Missed};
pub use revocations::revoke;
pub use subscriber::{READINESS, Subscriber};
