//! The admin server of both services, on a port of its own:
//! `GET /livez` answers while the process runs, `GET /readyz` says whether it can do its job and
//! if not why, `GET /metrics` is for Prometheus.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What must hold for a service to do its job, each under a name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Readiness {
    /// Says whether the condition `name` holds now.
    pub fn set(&self, name: &'static str, holds: bool) {
        self.conditions().insert(name, holds);
    }

    /// Whether there is a condition and all of them hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let conditions = self.conditions();
        !conditions.is_empty() && conditions.values().all(|holds| *holds)
    }

    fn conditions(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, bool>> {
        // The map is whole after every step, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let status = if self.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        json_response(status, &*self.conditions())
    }
}

/// An HTTP response with a JSON body.
///
/// # Panics
/// Never for bodies of maps and structs with text keys.
#[must_use]
pub fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("the body is a map with text keys");
    with_type(status, "application/json", body)
}

fn with_type(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// The admin server, bound and not yet answering.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    readiness: Readiness,
    registry: Registry,
}

impl AdminServer {
    /// Takes the port.
    ///
    /// # Errors
    /// Names the address when it cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        readiness: Readiness,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("ADMIN_PORT: cannot listen on {address}"))?;
        Ok(Self { listener, readiness, registry })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("the admin server has no address")
    }

    /// Answers until `shutdown`; it is handed a token that is cancelled last, so that probes see
    /// a service that stops as running and not ready.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listener, readiness, registry } = self;
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of file descriptors, most likely; accepting again at once would spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (readiness, registry) = (readiness.clone(), registry.clone());
            let service = service_fn(move |request| {
                let response = answer(&request, &readiness, &registry);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let shutdown = shutdown.clone();
            connections.spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    // A scraper that hangs up in mid-answer is no news.
                    _ = connection => {}
                }
            });
        }
    }
}

fn answer(
    request: &Request<Incoming>,
    readiness: &Readiness,
    registry: &Registry,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return with_type(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Vec::new());
    }
    match request.uri().path() {
        "/livez" => with_type(StatusCode::OK, "text/plain", b"ok\n".to_vec()),
        "/readyz" => readiness.response(),
        "/metrics" => metrics(registry),
        _ => with_type(StatusCode::NOT_FOUND, "text/plain", Vec::new()),
    }
}

fn metrics(registry: &Registry) -> Response<Full<Bytes>> {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => with_type(StatusCode::OK, "text/plain; version=0.0.4", text.into_bytes()),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            with_type(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", Vec::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_once_all_its_conditions_hold() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready());
        readiness.set("redis", true);
        readiness.set("kafka", false);
        assert_eq!(readiness.response().status(), StatusCode::SERVICE_UNAVAILABLE);
        readiness.set("kafka", true);
        assert_eq!(readiness.response().status(), StatusCode::OK);
    }
}
