//! The way to the collector. Spans are sent from a thread of their own, which knows no runtime;
//! the request runs on the one of the process. Says once when the collector is away, and once
//! when it is back.

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

/// Longest wait for the collector.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes; a good one is empty.
const MOST_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Collector {
    runtime: Handle,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    is_away: AtomicBool,
}

impl Collector {
    /// Sends on the runtime that it is made in.
    pub(super) fn new() -> anyhow::Result<Self> {
        let tls = HttpsConnectorBuilder::new().with_native_roots().context("root certificates")?;
        let connector = tls.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { runtime: Handle::current(), client, is_away: AtomicBool::new(false) })
    }

    fn report(&self, answer: &anyhow::Result<Response<Bytes>>) {
        let was_away = self.is_away.swap(answer.is_err(), Ordering::Relaxed);
        match answer {
            Err(error) if !was_away => {
                warn!("OTEL_EXPORTER_OTLP_ENDPOINT: {error:#}; spans are dropped");
            }
            Ok(_) if was_away => info!("the collector takes spans again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.client.request(request.map(Full::new));
        let exchange = async {
            let (head, body) = answer.await.context("cannot be reached")?.into_parts();
            ensure!(head.status.is_success(), "answered with {}", head.status);
            let body = Limited::new(body, MOST_BYTES).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!(error)).context("broken answer")?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answer = self.runtime.spawn(async { timeout(LIMIT, exchange).await }).await;
        let answer = answer.context("stopped").map(|answer| answer.context("no answer in time"));
        let answer = answer.flatten().flatten();
        self.report(&answer);
        Ok(answer?)
    }
}
