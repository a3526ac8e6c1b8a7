//! Checks of the Kafka clients while they run: reachable brokers, consumer lag, stalled and
//! unreadable partitions, and errors that only a restart of the process repairs.

pub(crate) mod brokers;
pub(crate) mod fatal;
mod ignored_leaders;
pub(crate) mod lag;
pub(crate) mod retention;
mod stalled;
pub(crate) mod unreadable;
