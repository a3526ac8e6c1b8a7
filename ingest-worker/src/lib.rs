//! Turns domain events from Kafka into notifications on Redis, each published once.
//!
//! Three layers: [`infrastructure`] drives (Kafka, Redis), [`domain`] decides (what a record is,
//! who is told), [`notification`] words it. Dependencies point in that order, and only the first
//! names Kafka or Redis. [`worker`] wires them.

pub mod cli;
pub mod config;
pub mod domain;
pub mod infrastructure;
pub mod metrics;
pub mod notification;
pub mod worker;
