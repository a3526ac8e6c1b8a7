//! What every request is answered with.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection_limits::ConnectionLimits,
    handshake_rate::HandshakeRate,
    health_endpoints::HealthEndpoints,
    pending::{PendingConnections, Slot},
    settings::ServerSettings,
};
use crate::{connection::ConnectionSettings, hub::Hub, metrics::HandshakeResult, redis::History};

#[derive(Debug)]
pub(super) struct ServerState {
    pub(super) settings: ServerSettings,
    pub(super) connection: Arc<ConnectionSettings>,
    pub(super) hub: Hub,
    pub(super) history: History,
    pub(super) health: HealthEndpoints,
    pub(super) handshakes: HandshakeRate,
    pub(super) pending: PendingConnections,
    pub(super) limits: ConnectionLimits,
    /// Tracks every request and every socket.
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl ServerState {
    pub(super) fn new(
        settings: ServerSettings,
        connection: ConnectionSettings,
        hub: Hub,
        history: History,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            connection: Arc::new(connection),
            hub,
            history,
            health: HealthEndpoints::new(&settings),
            handshakes: HandshakeRate::new(settings.max_handshakes_per_second),
            pending: PendingConnections::new(settings.max_pending_connections),
            limits: ConnectionLimits::new(
                settings.max_connections,
                settings.max_connections_per_address,
            ),
            settings,
            tasks,
            shutdown,
        }
    }

    /// Takes a slot for a connection that is pending.
    pub(super) fn acquire_slot(&self) -> Slot {
        let (slot, evicted_another) = self.pending.acquire();
        if evicted_another {
            self.count(HandshakeResult::Evicted);
        }
        slot
    }

    pub(super) fn count(&self, result: HandshakeResult) {
        self.connection.metrics.connections.of(result).inc();
    }
}
