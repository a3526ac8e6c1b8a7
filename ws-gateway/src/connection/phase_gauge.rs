//! Counts a connection in the metric of exactly one phase at a time.

use std::sync::Arc;

use super::settings::ConnectionSettings;
use crate::metrics::Phase;

/// Leaves the phase when it is dropped.
#[derive(Debug)]
pub(super) struct PhaseGauge {
    settings: Arc<ConnectionSettings>,
    phase: Phase,
}

impl PhaseGauge {
    pub(super) fn new(settings: Arc<ConnectionSettings>) -> Self {
        settings.metrics.phases.of(Phase::Opening).inc();
        Self { settings, phase: Phase::Opening }
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.settings.metrics.phases.of(self.phase).dec();
        self.settings.metrics.phases.of(phase).inc();
        self.phase = phase;
    }
}

impl Drop for PhaseGauge {
    fn drop(&mut self) {
        self.settings.metrics.phases.of(self.phase).dec();
    }
}
