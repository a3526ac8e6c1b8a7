//! The admin HTTP server of both services, on a port of its own: `GET /livez` (liveness),
//! `GET /readyz` (readiness, with the state of every condition), `GET /metrics` (Prometheus),
//! `GET /info` (version and commit) and `PUT /log-level/<level>`.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::ValueEnum as _;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backoff,
    build_info::{COMMIT, VERSION},
    telemetry::{LogFilter, LogLevel},
};

/// Named conditions of the service. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Condition>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition {
    holds: bool,
    /// Whether the service is unready while it does not hold.
    is_required: bool,
}

impl Readiness {
    /// Sets whether the condition `name` holds, which the service needs to be ready.
    pub fn set(&self, name: &'static str, holds: bool) {
        self.conditions().insert(name, Condition { holds, is_required: true });
    }

    /// Sets whether the condition `name` holds; without it the service is degraded, but ready.
    pub fn report(&self, name: &'static str, holds: bool) {
        self.conditions().insert(name, Condition { holds, is_required: false });
    }

    /// Returns whether at least one required condition is known and all of them hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let conditions = self.conditions();
        let mut required = conditions.values().filter(|condition| condition.is_required).peekable();
        required.peek().is_some() && required.all(|condition| condition.holds)
    }

    fn conditions(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Condition>> {
        // Every update is a single insert, so a poisoned lock still guards a consistent map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to_response(&self) -> Response<Full<Bytes>> {
        let status = if self.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let conditions = self.conditions();
        let holds = conditions.iter().map(|(name, condition)| (*name, condition.holds));
        json_response(status, &holds.collect::<BTreeMap<_, _>>())
    }
}

/// Returns an HTTP response with a JSON body.
///
/// # Panics
/// If `body` is not a map or struct with string keys.
#[must_use]
pub fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("the body is a map or struct with string keys");
    response(status, "application/json", body)
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

/// The admin server: bound, but not serving until [`AdminServer::run`].
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    readiness: Readiness,
    registry: Registry,
    log_filter: Option<LogFilter>,
}

impl AdminServer {
    /// Lets clients change the log level.
    #[must_use]
    pub fn with_log_filter(self, log_filter: LogFilter) -> Self {
        Self { log_filter: Some(log_filter), ..self }
    }

    /// Binds the port.
    ///
    /// # Errors
    /// If the address cannot be bound; the error names it.
    pub async fn bind(
        address: SocketAddr,
        readiness: Readiness,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("ADMIN_PORT: cannot listen on {address}"))?;
        Ok(Self { listener, readiness, registry, log_filter: None })
    }

    /// Returns the address that the server listens on.
    ///
    /// # Errors
    /// If the operating system does not report it.
    pub fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("local address of the admin server")
    }

    /// Serves requests until `shutdown`. Cancel this token last, so that probes see a stopping
    /// service as alive and not ready.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listener, readiness, registry, log_filter } = self;
        let (connections, mut backoff) = (TaskTracker::new(), backoff::ACCEPT);
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(backoff.next_delay()).await;
                continue;
            };
            backoff.reset();
            let (readiness, registry) = (readiness.clone(), registry.clone());
            let log_filter = log_filter.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let response = match request.uri().path().strip_prefix("/log-level/") {
                    Some(level) => set_log_level(request.method(), level, log_filter.as_ref()),
                    None => route(&request, &readiness, &registry),
                };
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let shutdown = shutdown.clone();
            connections.spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    // A client that disconnects during a response needs no log line.
                    _ = connection => {}
                }
            });
        }
    }
}

fn route(
    request: &Request<Incoming>,
    readiness: &Readiness,
    registry: &Registry,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Vec::new());
    }
    match request.uri().path() {
        "/livez" => response(StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        "/readyz" => readiness.to_response(),
        "/metrics" => metrics(registry),
        "/info" => json_response(StatusCode::OK, &Info { version: VERSION, commit: COMMIT }),
        _ => response(StatusCode::NOT_FOUND, "text/plain", Vec::new()),
    }
}

/// The build, as `/info` shows it.
#[derive(serde::Serialize)]
struct Info {
    version: &'static str,
    commit: &'static str,
}

fn set_log_level(
    method: &Method,
    level: &str,
    log_filter: Option<&LogFilter>,
) -> Response<Full<Bytes>> {
    let (status, text) = match (LogLevel::from_str(level, true), log_filter) {
        _ if method != Method::PUT => (StatusCode::METHOD_NOT_ALLOWED, "use PUT\n"),
        (Ok(level), Some(filter)) => {
            filter.set(level);
            (StatusCode::OK, "changed until the next restart\n")
        }
        (Err(_), _) => (StatusCode::BAD_REQUEST, "a level is error, warn, info, debug or trace\n"),
        (_, None) => (StatusCode::NOT_FOUND, ""),
    };
    response(status, "text/plain", text.as_bytes().to_vec())
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => response(StatusCode::OK, "text/plain; version=0.0.4", text.into_bytes()),
        Err(error) => {
            tracing::error!(%error, "failed to encode metrics");
            response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_once_all_conditions_hold() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready());
        readiness.set("redis", true);
        readiness.set("kafka", false);
        assert_eq!(readiness.to_response().status(), StatusCode::SERVICE_UNAVAILABLE);
        readiness.set("kafka", true);
        assert_eq!(readiness.to_response().status(), StatusCode::OK);
    }

    #[test]
    fn the_log_level_is_not_changed_by_another_method_or_to_an_unknown_level() {
        let status = |method, level| set_log_level(&method, level, None).status();
        assert_eq!(status(Method::GET, "debug"), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(status(Method::PUT, "loud"), StatusCode::BAD_REQUEST);
        assert_eq!(status(Method::PUT, "debug"), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_reported_condition_is_shown_and_does_not_affect_readiness() {
        let readiness = Readiness::default();
        readiness.report("redis_session", true);
        assert!(!readiness.is_ready(), "no required condition is known");
        readiness.set("running", true);
        readiness.report("redis_session", false);
        let response = readiness.to_response();
        assert_eq!(response.status(), StatusCode::OK);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, r#"{"redis_session":false,"running":true}"#);
    }
}
