//! Checks of the Kafka clients while they run: reachable brokers, consumer lag, stalled
//! partitions, and errors that only a restart of the process repairs.

pub mod brokers;
pub mod fatal;
pub mod lag;
mod stalled;
