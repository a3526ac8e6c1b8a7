//! The load tester: many WebSockets, and events on a schedule that is fixed beforehand.
//!
//! Open loop: how late a notification is counts from the time its event was meant to be sent, so
//! that a system that falls behind is not asked less. The sockets are held by processes of their
//! own ([`seat`]), which [`crew`] starts and asks; [`source`] sends the events; [`run`] is both
//! and the verdict. Each socket counts its user's events by number ([`account`]).

pub mod account;
pub mod crew;
pub mod dial;
pub mod events;
pub mod mark;
pub mod plan;
mod room;
pub mod run;
pub mod seat;
pub mod source;
pub mod tally;
pub mod tokens;
pub mod wire;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on a clock that never jumps and that all processes of this machine share.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}
