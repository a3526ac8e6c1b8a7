//! What a stack is made of.

use crate::proxy::Proxy;

/// How many of what, and with which settings besides the addresses.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How many workers share the consumer group.
    pub workers: usize,
    /// How many gateways there are.
    pub gateways: usize,
    /// Further settings of each worker.
    pub worker_settings: Vec<(&'static str, String)>,
    /// Further settings of each gateway.
    pub gateway_settings: Vec<(&'static str, String)>,
    /// Whether the services reach Redis through proxies.
    pub proxied: bool,
}

/// The proxies between the services and Redis.
#[derive(Debug)]
pub struct Ways {
    /// That of all workers.
    pub worker: Proxy,
    /// That of all gateways.
    pub gateway: Proxy,
}

impl Default for Layout {
    fn default() -> Self {
        let none = Vec::new();
        let (worker_settings, gateway_settings) = (none.clone(), none);
        Self { workers: 1, gateways: 1, worker_settings, gateway_settings, proxied: false }
    }
}
