//! Load tester: holds many WebSockets and sends events to Kafka on a fixed schedule (open loop).
//!
//! Latency counts from the time at which an event was scheduled, not from when it was sent, so that
//! an overloaded system cannot slow the load down. [`processes`] starts processes that hold the
//! sockets ([`client_process`]); [`schedule`] sends the events; [`run`] does both and evaluates the
//! result. Each socket checks the sequence numbers of its user's events (`sequence.rs`).

pub mod client_process;
mod clients;
pub mod events;
mod gateway;
pub mod messages;
pub mod plan;
pub mod processes;
pub mod run;
pub mod schedule;
mod sequence;
pub mod stats;
pub mod tag;
pub mod tokens;
mod websocket;

use rustix::time::{ClockId, clock_gettime};

/// Returns nanoseconds on the monotonic clock, which all processes of this machine share.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}
