//! What a simulation leaves behind: its trace, the states that were reached, and the violations.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::Instant;

use crate::states::STATES;

pub(crate) struct Recorder {
    start: Instant,
    prints: bool,
    state: Mutex<State>,
}

struct State {
    /// FNV-1a of all lines of the trace.
    hash: u64,
    lines: u64,
    reached: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

impl Recorder {
    /// A recorder that starts now, and prints the trace if `prints` is true.
    pub(crate) fn new(prints: bool) -> Self {
        let state = State {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            reached: BTreeMap::new(),
            violations: Vec::new(),
        };
        Self { start: Instant::now(), prints, state: Mutex::new(state) }
    }

    /// Returns the simulated time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Adds a line to the trace.
    pub(crate) fn trace(&self, line: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} {line}", self.elapsed().as_secs_f64());
        let mut state = self.state();
        for byte in line.bytes() {
            state.hash = (state.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state.lines += 1;
        drop(state);
        if self.prints {
            println!("{line}");
        }
    }

    /// Counts a state of `STATES` as reached.
    pub(crate) fn reach(&self, name: &'static str) {
        assert!(STATES.contains(&name), "`{name}` is not in the list of states");
        *self.state().reached.entry(name).or_default() += 1;
    }

    /// Records that a property does not hold.
    pub(crate) fn violate(&self, what: String) {
        self.trace(format_args!("VIOLATION {what}"));
        self.state().violations.push(what);
    }

    /// Returns the hash and the number of lines of the trace.
    pub(crate) fn trace_hash(&self) -> (u64, u64) {
        let state = self.state();
        (state.hash, state.lines)
    }

    pub(crate) fn reached(&self) -> BTreeMap<&'static str, u64> {
        self.state().reached.clone()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no part of the simulation panics while it holds this lock")
    }
}
