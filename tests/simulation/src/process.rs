//! A process that can be stalled and killed at any await point.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Runs,
    Stalled,
    Ended,
}

/// A handle to a process. Clones share it.
#[derive(Clone)]
pub(crate) struct Process(Arc<watch::Sender<Phase>>);

impl Process {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Runs)))
    }

    pub(crate) fn runs(&self) -> bool {
        *self.0.borrow() == Phase::Runs
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.0.borrow() == Phase::Ended
    }

    /// Suspends or resumes the process.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.0.send_if_modified(|phase| {
            let next = if stalled { Phase::Stalled } else { Phase::Runs };
            let changes = *phase != Phase::Ended && *phase != next;
            if changes {
                *phase = next;
            }
            changes
        });
    }

    /// Ends the process at the await point that it has reached.
    pub(crate) fn end(&self) {
        self.0.send_replace(Phase::Ended);
    }

    /// Runs `code` as this process; `None` if the process was killed.
    pub(crate) async fn run<T>(&self, code: impl Future<Output = T>) -> Option<T> {
        let (mut phase, mut code) = (self.0.subscribe(), pin!(code));
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Ended => return None,
                Phase::Stalled => phase.changed().await.ok()?,
                Phase::Runs => tokio::select! {
                    biased;
                    changed = phase.changed() => changed.ok()?,
                    output = &mut code => return Some(output),
                },
            }
        }
    }
}
