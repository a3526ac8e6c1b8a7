//! The HTTP client of the span exporter. The exporter runs on a thread without a runtime, so
//! requests are spawned on the service's runtime. Logs once when the collector becomes unreachable
//! and once when it is reachable again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{runtime::Handle, time::timeout};
use tracing::{info, warn};

/// Time limit for one export request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, in bytes; a successful one is nearly empty.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Collector {
    runtime: Handle,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    is_unreachable: AtomicBool,
}

impl Collector {
    /// Creates a client that sends on the current runtime.
    pub(super) fn new() -> anyhow::Result<Self> {
        let tls = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("loading root certificates")?;
        let connector = tls.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { runtime: Handle::current(), client, is_unreachable: AtomicBool::new(false) })
    }

    fn report(&self, result: &anyhow::Result<Response<Bytes>>) {
        let was_unreachable = self.is_unreachable.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !was_unreachable => {
                warn!(
                    error = format!("{error:#}"),
                    "exporting spans to OTEL_EXPORTER_OTLP_ENDPOINT failed, dropping spans"
                );
            }
            Ok(_) if was_unreachable => {
                info!("exporting spans to OTEL_EXPORTER_OTLP_ENDPOINT succeeds again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.client.request(request.map(Full::new));
        let exchange = async {
            let (head, body) = response.await.context("request failed")?.into_parts();
            ensure!(head.status.is_success(), "HTTP status {}", head.status);
            let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error)).context("invalid response")?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let response = self.runtime.spawn(async { timeout(TIMEOUT, exchange).await }).await;
        let result =
            response.context("request cancelled").map(|result| result.context("timed out"));
        let result = result.flatten().flatten();
        self.report(&result);
        Ok(result?)
    }
}
