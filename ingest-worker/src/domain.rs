//! Decides what a record is, who its recipient is and what its outcome is. Knows neither Kafka nor
//! Redis: records come in as [`record::Record`]; [`recipients::OwnerDirectory`] and
//! [`crate::notification::publisher::Publisher`] are the boundaries to storage.

pub mod classify;
pub mod dispatch;
pub mod idempotency;
mod logging;
pub mod ordering;
mod panics;
pub(crate) mod preview;
pub mod recipients;
pub mod record;
pub mod routes;

#[cfg(test)]
mod tests;
