//! A collector of traces: takes spans by OTLP over HTTP and keeps them.

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

/// Where spans are sent, below the address that services are given.
const PATH: &str = "/v1/traces";

/// A stretch of work that a service sent, its ids written as in a `traceparent`.
#[derive(Clone, Debug)]
pub struct Span {
    /// Who sent it.
    pub service: String,
    /// What was done.
    pub name: String,
    /// Its trace.
    pub trace: String,
    /// Itself.
    pub id: String,
    /// What it belongs to; empty: nothing.
    pub parent: String,
    /// From when to when, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// What is said about it.
    pub attributes: Vec<(String, String)>,
}

/// A running collector; it ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    _tasks: JoinSet<()>,
}

impl Collector {
    /// Takes spans on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for spans")?;
        let url = format!("http://{}", listener.local_addr()?);
        let (spans, mut tasks) = (Arc::<Mutex<Vec<Span>>>::default(), JoinSet::new());
        let taken = Arc::clone(&spans);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let taken = Arc::clone(&taken);
                let service = service_fn(move |request| {
                    let taken = Arc::clone(&taken);
                    async move { Ok::<_, Infallible>(answer(request, &taken).await) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { drop(connection.await) });
            }
        });
        Ok(Self { url, spans, _tasks: tasks })
    }

    /// Its address, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The spans of a trace, once there are `count`.
    ///
    /// # Errors
    /// When there are not in time.
    pub async fn trace(
        &self,
        trace: &str,
        count: usize,
        limit: Duration,
    ) -> anyhow::Result<Vec<Span>> {
        eventually("the spans are there", limit, async || {
            let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            let spans: Vec<Span> =
                spans.iter().filter(|span| span.trace == trace).cloned().collect();
            anyhow::ensure!(spans.len() >= count, "{} of {count}: {spans:?}", spans.len());
            Ok(spans)
        })
        .await
    }
}

async fn answer(request: Request<Incoming>, taken: &Mutex<Vec<Span>>) -> Response<Full<Bytes>> {
    let is_wanted = request.uri().path() == PATH;
    let spans = match request.into_body().collect().await {
        Ok(body) if is_wanted => spans(body.to_bytes()),
        _ => Err(anyhow::anyhow!("not for this collector")),
    };
    let (status, text) = match spans {
        Ok(spans) => {
            taken.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
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
    for of_service in ExportTraceServiceRequest::decode(body)?.resource_spans {
        let resource = of_service.resource.context("spans of nobody")?;
        let attributes = texts(resource.attributes);
        let service = attributes.into_iter().find(|(name, _)| name == "service.name");
        let (_, service) = service.context("a service without a name")?;
        for span in of_service.scope_spans.into_iter().flat_map(|scope| scope.spans) {
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
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
