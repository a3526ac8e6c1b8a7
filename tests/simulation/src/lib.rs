//! Runs the whole path from Kafka to a client in one process and one thread, on a paused clock,
//! under faults drawn from a seed. See `README.md`.

mod client;
mod faults;
mod gateway;
mod kafka;
mod network;
mod oracle;
pub mod plan;
pub mod planted;
mod process;
mod recorder;
pub mod redis;
pub mod report;
pub mod run;
pub mod runner;
mod simulation;
pub mod states;
mod worker;
mod workload;
