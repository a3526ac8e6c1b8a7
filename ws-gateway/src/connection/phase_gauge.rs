//! Where a connection stands, for the metrics: counted in one state as long as it lives.

use std::sync::Arc;

use super::Terms;
use crate::metrics::Phase;

#[derive(Debug)]
pub(super) struct Standing {
    terms: Arc<Terms>,
    phase: Phase,
}

impl Standing {
    pub(super) fn new(terms: Arc<Terms>) -> Self {
        terms.metrics.phases.of(Phase::Opening).inc();
        Self { terms, phase: Phase::Opening }
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.terms.metrics.phases.of(self.phase).dec();
        self.terms.metrics.phases.of(phase).inc();
        self.phase = phase;
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.terms.metrics.phases.of(self.phase).dec();
    }
}
