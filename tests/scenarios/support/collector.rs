//! A trace collector: receives spans by OTLP over HTTP and keeps them.

use std::{
    convert::Infallible,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};

use harness::eventually;

/// Path of the OTLP endpoint.
const PATH: &str = "/v1/traces";

/// A span; its ids are in hex, as in a `traceparent`.
#[derive(Clone, Debug)]
pub struct Span {
    /// The service that sent it.
    pub service: String,
    /// The span's name.
    pub name: String,
    /// The trace id.
    pub trace: String,
    /// The span id.
    pub id: String,
    /// The parent's span id; empty: none.
    pub parent: String,
    /// Start and end, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// The attributes.
    pub attributes: Vec<(String, String)>,
}

/// A running collector; it ends on drop.
#[derive(Debug)]
pub struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    _tasks: JoinSet<()>,
}

impl Collector {
    /// Starts a collector on a free port.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the collector")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (spans, mut tasks) = (Arc::<Mutex<Vec<Span>>>::default(), JoinSet::new());
        let received = Arc::clone(&spans);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let received = Arc::clone(&received);
                let service = service_fn(move |request| {
                    let received = Arc::clone(&received);
                    async move { Ok::<_, Infallible>(receive(request, &received).await) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { drop(connection.await) });
            }
        });
        Ok(Self { url, spans, _tasks: tasks })
    }

    /// Returns the value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until a trace has at least `count` spans and returns them.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn trace(
        &self,
        trace: &str,
        count: usize,
        limit: Duration,
    ) -> anyhow::Result<Vec<Span>> {
        eventually("the spans are exported", limit, async || {
            let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            let spans: Vec<Span> =
                spans.iter().filter(|span| span.trace == trace).cloned().collect();
            anyhow::ensure!(spans.len() >= count, "expected {count} spans, got {spans:?}");
            Ok(spans)
        })
        .await
    }
}

async fn receive(request: Request<Incoming>, received: &Mutex<Vec<Span>>) -> Response<Full<Bytes>> {
    let is_trace_path = request.uri().path() == PATH;
    let spans = match request.into_body().collect().await {
        Ok(body) if is_trace_path => spans(body.to_bytes()),
        _ => Err(anyhow::anyhow!("not {PATH}")),
    };
    let (status, text) = match spans {
        Ok(spans) => {
            received.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
            (StatusCode::OK, String::new())
        }
        Err(problem) => (StatusCode::BAD_REQUEST, problem.to_string()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

fn spans(body: Bytes) -> anyhow::Result<Vec<Span>> {
    let mut spans = Vec::new();
    for resource_spans in ExportTraceServiceRequest::decode(body)?.resource_spans {
        let resource = resource_spans.resource.context("spans without a resource")?;
        let attributes = texts(resource.attributes);
        let service = attributes.into_iter().find(|(name, _)| name == "service.name");
        let (_, service) = service.context("a resource without service.name")?;
        for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: service.clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                time: (span.start_time_unix_nano, span.end_time_unix_nano),
                attributes: texts(span.attributes),
            });
        }
    }
    Ok(spans)
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |attribute: KeyValue| match attribute.value?.value? {
        Value::StringValue(text) => Some((attribute.key, text)),
        _ => None,
    };
    attributes.into_iter().filter_map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("formatting into a String cannot fail");
        text
    })
}
