//! Where a connection stands, for the metrics: counted in one state as long as it lives.

use std::sync::Arc;

use super::ConnectionSettings;
use crate::metrics::Phase;

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
