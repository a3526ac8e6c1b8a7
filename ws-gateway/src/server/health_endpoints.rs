//! Health checks on the public port, in the form that deployed load balancers expect.

use std::time::Instant;

use hyper::{Method, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use super::{
    response::{self, Response},
    settings::ServerSettings,
};

/// The answers of `/healthz` (the process serves), `/healthz/redis` (and is connected to Redis)
/// and `/healthz/websocket` (and has this many connections).
#[derive(Debug)]
pub(super) struct HealthEndpoints {
    service: String,
    environment: String,
    max_connections_per_user: usize,
    started: Instant,
}

/// The current state that the responses report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Health {
    pub(super) redis_connected: bool,
    pub(super) active_connections: i64,
}

impl HealthEndpoints {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self {
            service: settings.service.clone(),
            environment: settings.environment.clone(),
            max_connections_per_user: settings.max_connections_per_user.get(),
            started: Instant::now(),
        }
    }

    pub(super) fn respond(&self, method: &Method, path: &str, health: Health) -> Response {
        if !matches!(path, "/healthz" | "/healthz/redis" | "/healthz/websocket") {
            return response::error(StatusCode::NOT_FOUND, "no such resource");
        }
        if *method != Method::GET && *method != Method::HEAD {
            let response = response::error(StatusCode::METHOD_NOT_ALLOWED, "use GET");
            return response::with_header(response, header::ALLOW, "GET, HEAD");
        }
        let is_healthy = path != "/healthz/redis" || health.redis_connected;
        let mut body = json!({
            "service": self.service,
            "status": if is_healthy { "healthy" } else { "unhealthy" },
            "environment": self.environment,
            "timestamp": Timestamp::now(),
            "uptime_seconds": self.started.elapsed().as_secs_f64(),
        });
        if path == "/healthz/websocket" {
            body["total_connections"] = health.active_connections.into();
            body["max_connections_per_user"] = self.max_connections_per_user.into();
        }
        let status = if is_healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        response::json(status, &body)
    }
}
