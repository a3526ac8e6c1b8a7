//! From the settings as text to what each part of the gateway is built with.

use shared::trace::Tracer;
use tokio::time::Instant;

use crate::{
    auth::Authenticator,
    config::Config,
    connection::{ConnectionSettings, socket_config},
    hub::{self, outbox},
    metrics::Metrics,
    redis::RebalanceSettings,
    server::ServerSettings,
};

pub(super) fn hub(config: &Config) -> hub::Limits {
    let limits = &config.limits;
    hub::Limits {
        per_user: limits.websocket_max_connections_per_user,
        policy: limits.connection_limit_policy,
        outbox: outbox::Limits {
            capacity: limits.outbox_capacity.get(),
            max_bytes: limits.outbox_max_bytes.get(),
            max_delay: limits.low_priority_max_delay,
        },
    }
}

pub(super) fn connection(
    config: &Config,
    authenticator: Authenticator,
    tracer: Option<Tracer>,
    metrics: Metrics,
) -> ConnectionSettings {
    let ping_interval = config.websocket_ping_interval;
    ConnectionSettings {
        ping_interval,
        epoch: Instant::now(),
        keepalive_timeout: config.websocket_idle_timeout.min(ping_interval.saturating_mul(2)),
        expiry_grace: config.tokens.jwt_expiry_grace,
        max_message_size: config.limits.websocket_max_message_size.get(),
        max_messages_per_second: config.limits.websocket_max_messages_per_second,
        drain_window: config.drain_window,
        authenticator,
        metrics,
        tracer,
    }
}

pub(super) fn rebalancing(config: &Config) -> RebalanceSettings {
    RebalanceSettings {
        percent_per_second: config.limits.rebalance_rate,
        min_connections: config.limits.rebalance_min_connections,
    }
}

pub(super) fn server(config: &Config) -> ServerSettings {
    let limits = &config.limits;
    // A message with a new token may be as large as the head of a handshake with one.
    let largest_message = limits.websocket_max_message_size.max(limits.max_request_head).get();
    ServerSettings {
        service: config.service_name.clone(),
        environment: config.environment.clone(),
        max_connections_per_user: limits.websocket_max_connections_per_user,
        origins: config.cors_origins.clone(),
        socket: socket_config(largest_message),
        handshake_timeout: limits.handshake_timeout,
        max_request_head: limits.max_request_head,
        max_query_length: limits.max_query_length,
        max_handshakes_per_second: limits.max_handshakes_per_second,
        max_pending_connections: limits.max_pending_connections,
        max_connections: limits.max_connections,
        max_connections_per_address: limits.max_connections_per_address,
        trusted_proxies: limits.trusted_proxies.clone().unwrap_or_default(),
    }
}
