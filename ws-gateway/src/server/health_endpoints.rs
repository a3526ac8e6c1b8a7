//! Everything on the public port that is not a WebSocket: health, as existing checks expect it,
//! and refusals.

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode, header, header::HeaderName, header::HeaderValue};
use jiff::Timestamp;
use serde_json::json;
use shared::admin;

use super::Shared;
use crate::config::Config;

/// What the service says of itself.
#[derive(Debug)]
pub(super) struct HealthEndpoints {
    service: String,
    environment: String,
    max_connections_per_user: usize,
    started: Instant,
}

impl HealthEndpoints {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            service: config.service_name.clone(),
            environment: config.environment.clone(),
            max_connections_per_user: config.limits.websocket_max_connections_per_user.get(),
            started: Instant::now(),
        }
    }

    /// `/healthz`: it runs; `/healthz/redis`: and has Redis; `/healthz/websocket`: and how busy
    /// it is.
    pub(super) fn answer(
        &self,
        method: &Method,
        path: &str,
        server: &Shared,
    ) -> Response<Full<Bytes>> {
        if !matches!(path, "/healthz" | "/healthz/redis" | "/healthz/websocket") {
            return refusal(StatusCode::NOT_FOUND, "no such resource");
        }
        if *method != Method::GET && *method != Method::HEAD {
            let refusal = refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET is possible here");
            return with(refusal, header::ALLOW, "GET, HEAD");
        }
        let is_up = path != "/healthz/redis" || server.history.is_available();
        let mut body = json!({
            "service": self.service,
            "status": if is_up { "healthy" } else { "unhealthy" },
            "environment": self.environment,
            "timestamp": Timestamp::now(),
            "uptime_seconds": self.started.elapsed().as_secs_f64(),
        });
        if path == "/healthz/websocket" {
            body["total_connections"] = server.settings.metrics.active_connections.get().into();
            body["max_connections_per_user"] = self.max_connections_per_user.into();
        }
        let status = if is_up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        admin::json_response(status, &body)
    }
}

/// An error for people and programs.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    admin::json_response(status, &json!({ "error": message }))
}

/// The response with one more header.
pub(super) fn with(
    mut response: Response<Full<Bytes>>,
    name: HeaderName,
    value: &'static str,
) -> Response<Full<Bytes>> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
