//! Tries every sequence of steps that a small system can take.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

/// A system in one of its states.
pub(crate) trait System {
    /// What happens in it, one at a time.
    type Step: Copy;

    /// Returns the steps that are possible now.
    fn steps(&self) -> Vec<Self::Step>;

    fn act(&mut self, step: Self::Step);

    /// Returns a text that is the same for equal states only.
    fn fingerprint(&self) -> String;

    /// Checks the state that `steps` have led to.
    fn check(&self, steps: &[Self::Step]);
}

/// Checks every state that can be reached, and returns their number.
pub(crate) fn explore<S: System>(new: impl Fn() -> S) -> usize {
    let (mut seen, mut open) = (HashSet::new(), vec![Vec::new()]);
    while let Some(steps) = open.pop() {
        let mut system = new();
        for step in &steps {
            system.act(*step);
        }
        if seen.insert(system.fingerprint()) {
            system.check(&steps);
            open.extend(system.steps().into_iter().map(|step| [&steps[..], &[step]].concat()));
        }
    }
    seen.len()
}

/// Whether a task was woken.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, woken: bool) {
        self.0.store(woken, Ordering::Relaxed);
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set(true);
    }
}
