//! What a stack is made of.

use crate::proxy::Proxy;

/// Stands for the name of a worker.
pub(super) const WORKER: &str = "{worker}";

/// How many of what, and with which settings besides the addresses.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How many workers share the consumer group.
    pub workers: usize,
    /// How many gateways there are.
    pub gateways: usize,
    /// Further settings of each worker, `{worker}` in a value standing for its name.
    pub worker_settings: Vec<(&'static str, String)>,
    /// Further settings of each gateway.
    pub gateway_settings: Vec<(&'static str, String)>,
    /// Whether the services reach Redis through proxies.
    pub proxied: bool,
}

/// The proxies between the services and Redis.
#[derive(Debug)]
pub struct RedisProxies {
    /// That of all workers.
    pub worker: Proxy,
    /// That of all gateways.
    pub gateway: Proxy,
}

impl Layout {
    /// With workers that are known to their group by name: one that comes back has its place again
    /// at once, and so the group can be patient with the others and with the broker. Partitions
    /// change hands in one step: of two, a worker killed between them would leave some to nobody.
    #[must_use]
    pub fn with_named_workers(mut self) -> Self {
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
