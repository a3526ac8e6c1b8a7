//! What all parts of a simulation share: its plan, the random numbers of its seed, the recorder,
//! and the oracle.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{oracle::Oracle, plan::Plan, recorder::Recorder};

/// The shared part of one simulation. Everything runs on one thread, so no lock is ever contended.
pub(crate) type Sim = Arc<Simulation>;

pub(crate) struct Simulation {
    pub(crate) plan: Plan,
    pub(crate) oracle: Oracle,
    pub(crate) recorder: Arc<Recorder>,
    random: Mutex<StdRng>,
}

/// Milliseconds since 1970 at which every simulation starts, as `host.c` has it.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

impl Simulation {
    /// A simulation that prints its trace if `prints` is true.
    pub(crate) fn new(plan: Plan, prints: bool) -> Sim {
        let recorder = Arc::new(Recorder::new(prints));
        let oracle = Oracle::new(Arc::clone(&recorder), plan.owner_wait);
        let random = Mutex::new(StdRng::seed_from_u64(plan.seed));
        Arc::new(Self { plan, oracle, recorder, random })
    }

    /// Returns the simulated time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        START_MS + u64::try_from(self.recorder.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a line to the trace.
    pub(crate) fn trace(&self, line: fmt::Arguments<'_>) {
        self.recorder.trace(line);
    }

    /// Counts a state of `STATES` as reached.
    pub(crate) fn reach(&self, name: &'static str) {
        self.recorder.reach(name);
    }

    /// Records that a property does not hold.
    pub(crate) fn violate(&self, what: String) {
        self.recorder.violate(what);
    }

    /// Returns true in `percent` of all calls.
    pub(crate) fn chance(&self, percent: u32) -> bool {
        self.random().random_range(0..100) < percent
    }

    pub(crate) fn number(&self, range: Range<u64>) -> u64 {
        self.random().random_range(range)
    }

    pub(crate) fn index(&self, length: usize) -> usize {
        self.random().random_range(0..length.max(1))
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }

    fn random(&self) -> MutexGuard<'_, StdRng> {
        self.random.lock().expect("no part of the simulation panics while it holds this lock")
    }
}

/// Adds a line to the trace of a sim.
macro_rules! trace {
    ($sim:expr, $($line:tt)*) => { $sim.trace(format_args!($($line)*)) };
}
pub(crate) use trace;
