//! What all parts of a simulation share: the random numbers of its seed, the trace, the states that
//! were reached, and the violations.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

use crate::{oracle::Oracle, plan::Plan, states::STATES};

/// The shared part of one simulation. Everything runs on one thread, so no lock is ever contended.
pub(crate) type Sim = Arc<Simulation>;

pub(crate) struct Simulation {
    pub(crate) plan: Plan,
    pub(crate) oracle: Oracle,
    start: Instant,
    prints: bool,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    /// FNV-1a of all lines of the trace.
    hash: u64,
    lines: u64,
    reached: BTreeMap<&'static str, u64>,
    violations: Vec<String>,
}

/// Milliseconds since 1970 at which every simulation starts, as `host.c` has it.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

impl Simulation {
    /// A simulation that prints its trace if `prints` is true.
    pub(crate) fn new(plan: Plan, prints: bool) -> Sim {
        let state = State {
            random: StdRng::seed_from_u64(plan.seed),
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            reached: BTreeMap::new(),
            violations: Vec::new(),
        };
        let (oracle, start) = (Oracle::default(), Instant::now());
        Arc::new(Self { plan, oracle, start, prints, state: Mutex::new(state) })
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the simulated time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        START_MS + u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
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

    /// Returns true in `percent` of all calls.
    pub(crate) fn chance(&self, percent: u32) -> bool {
        self.state().random.random_range(0..100) < percent
    }

    pub(crate) fn number(&self, range: Range<u64>) -> u64 {
        self.state().random.random_range(range)
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        self.state().random.random_range(0..length.max(1))
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.number(range))
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

/// Adds a line to the trace of a sim.
macro_rules! trace {
    ($sim:expr, $($line:tt)*) => { $sim.trace(format_args!($($line)*)) };
}
pub(crate) use trace;
