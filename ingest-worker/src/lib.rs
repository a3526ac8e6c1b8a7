//! Consumes domain events from Kafka and publishes notifications to Redis, each once.
//!
//! Three layers: [`infrastructure`] drives Kafka and Redis, [`domain`] decides what a record is and
//! who its recipient is, [`notification`] formats. Each depends only on the layers after it, and
//! only the first names Kafka or Redis. [`worker`] wires them.

mod accounting;
pub mod cli;
pub mod config;
pub mod domain;
mod infrastructure;
mod metrics;
pub mod notification;
pub mod worker;
