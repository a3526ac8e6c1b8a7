//! The layout of a stack: number of services, and their settings.

use crate::proxy::Proxy;

/// Placeholder for the name of a worker.
pub(super) const WORKER: &str = "{worker}";

/// Number of services, and their settings except addresses.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Number of workers in the consumer group.
    pub workers: usize,
    /// Number of gateways.
    pub gateways: usize,
    /// Settings of each worker; `{worker}` in a value is replaced by its name.
    pub worker_settings: Vec<(&'static str, String)>,
    /// Settings of each gateway.
    pub gateway_settings: Vec<(&'static str, String)>,
    /// Whether the services reach Redis through proxies.
    pub proxied: bool,
}

/// The proxies between the services and Redis.
#[derive(Debug)]
pub struct RedisProxies {
    /// The proxy of all workers.
    pub worker: Proxy,
    /// The proxy of all gateways.
    pub gateway: Proxy,
}

impl Layout {
    /// Static group membership: a restarted worker gets its partitions back without a rebalance, so
    /// the session timeout can be long. Eager assignment: between the two rebalances of cooperative
    /// assignment, a killed worker would leave partitions unassigned.
    #[must_use]
    pub fn with_static_membership(mut self) -> Self {
        self.worker_settings.extend([
            ("KAFKA_PROPERTY_GROUP_INSTANCE_ID", WORKER.to_owned()),
            ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "45000".to_owned()),
            ("KAFKA_PROPERTY_PARTITION_ASSIGNMENT_STRATEGY", "roundrobin".to_owned()),
        ]);
        self
    }
}

impl Default for Layout {
    fn default() -> Self {
        let none = Vec::new();
        let (worker_settings, gateway_settings) = (none.clone(), none);
        Self { workers: 1, gateways: 1, worker_settings, gateway_settings, proxied: false }
    }
}
