//! Distributed tracing: OpenTelemetry spans, exported by OTLP over HTTP, and the W3C `traceparent`
//! that travels with an event. Without `ENABLE_TRACING` there is no [`Tracer`] and nothing runs.
//! Export never blocks the work: spans that the collector does not accept in time are dropped.

mod collector;

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use hyper::Uri;
use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, TraceContextExt as _, TraceId, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};
use tracing::warn;

use collector::Collector;

/// The name of the Kafka header, and of the key in the envelope's metadata, with the trace context.
pub const TRACEPARENT: &str = "traceparent";

/// Tracing settings.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceSettings {
    /// Trace every notification, and add its `traceparent` to it as `trace`
    #[arg(long, env = "ENABLE_TRACING", default_value = "false", action = clap::ArgAction::Set)]
    pub enable_tracing: bool,
    /// OTLP over HTTP endpoint of the trace collector; `/v1/traces` is appended
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "http://localhost:4318")]
    pub otel_exporter_otlp_endpoint: Uri,
    /// Sampling ratio, 0 to 1, of traces that start here; continued traces keep their own decision
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_parser = ratio)]
    pub otel_traces_sampler_arg: f64,
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("not a number from 0 to 1".into()),
    }
}

/// Creates spans and exports them in batches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    spans: SdkTracer,
    provider: SdkTracerProvider,
}

/// The span of the work on one event; it ends and is exported when dropped.
#[derive(Debug)]
pub struct EventSpan(Span);

impl Tracer {
    /// Creates a tracer for `service`, or `None` if tracing is disabled. Exports on the current
    /// runtime.
    ///
    /// # Errors
    /// If the endpoint is invalid or the system's root certificates cannot be loaded.
    pub fn new(settings: &TraceSettings, service: &'static str) -> anyhow::Result<Option<Self>> {
        if !settings.enable_tracing {
            return Ok(None);
        }
        let endpoint = settings.otel_exporter_otlp_endpoint.to_string();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new()?)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()
            .context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        let roots = Sampler::TraceIdRatioBased(settings.otel_traces_sampler_arg);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(roots)))
            .with_resource(Resource::builder().with_service_name(service).build())
            .build();
        Ok(Some(Self { spans: provider.tracer(service), provider }))
    }

    /// Starts the span of an event that arrived with the traceparent `parent`; without a valid one
    /// a new trace starts.
    #[must_use]
    pub fn start(&self, name: &'static str, parent: Option<&str>, at: SystemTime) -> EventSpan {
        let extractor = TraceparentExtractor(parent.unwrap_or_default());
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &extractor);
        let span = self.spans.span_builder(name).with_kind(SpanKind::Consumer).with_start_time(at);
        EventSpan(span.start_with_context(&self.spans, &parent))
    }

    /// Records a finished stage of the work as a child span.
    pub fn record_stage(
        &self,
        of: &EventSpan,
        name: &'static str,
        from: SystemTime,
        to: SystemTime,
    ) {
        if !of.0.is_recording() {
            return;
        }
        let parent = Context::new().with_remote_span_context(of.0.span_context().clone());
        // Clock skew between machines must not produce a negative duration.
        let span = self.spans.span_builder(name).with_start_time(from);
        span.start_with_context(&self.spans, &parent).end_with_timestamp(to.max(from));
    }
}

/// Exports the remaining spans, for at most `grace`.
pub async fn shut_down(tracer: Option<Tracer>, grace: Duration) {
    let Some(Tracer { provider, .. }) = tracer else { return };
    let shutdown = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(grace));
    if !matches!(shutdown.await, Ok(Ok(()))) {
        warn!("remaining spans were not exported before the shutdown deadline");
    }
}

impl EventSpan {
    /// Returns the traceparent for the next service.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let context = self.0.span_context();
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags())
    }

    /// Returns the trace id, for logs.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.0.span_context().trace_id()
    }

    /// Sets an attribute of the span.
    pub fn set_attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// Ends the span at `at`.
    pub fn end(mut self, at: SystemTime) {
        self.0.end_with_timestamp(at);
    }
}

/// Presents a single `traceparent` to the OpenTelemetry propagator.
struct TraceparentExtractor<'a>(&'a str);

impl Extractor for TraceparentExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT && !self.0.is_empty()).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SpanData, SpanExporter},
    };

    use super::*;

    /// Keeps exported spans in memory.
    #[derive(Clone, Debug, Default)]
    struct InMemoryExporter(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for InMemoryExporter {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    const REMOTE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn tracer() -> (Tracer, InMemoryExporter) {
        let exporter = InMemoryExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        (Tracer { spans: provider.tracer("test"), provider }, exporter)
    }

    fn span_named(exporter: &InMemoryExporter, name: &str) -> SpanData {
        exporter.0.lock().unwrap().iter().find(|span| span.name == name).unwrap().clone()
    }

    #[test]
    fn the_span_continues_the_trace_of_the_event() {
        let (tracer, exporter) = tracer();
        let at = SystemTime::now();
        let span = tracer.start("notify", Some(REMOTE_PARENT), at);
        assert_eq!(span.traceparent()[..36], REMOTE_PARENT[..36]);
        assert_ne!(span.traceparent(), REMOTE_PARENT);
        tracer.record_stage(&span, "kafka", at, at - Duration::from_secs(1));
        span.end(at);
        let (root, stage) = (span_named(&exporter, "notify"), span_named(&exporter, "kafka"));
        assert_eq!(root.parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(stage.parent_span_id, root.span_context.span_id());
        assert_eq!(stage.end_time, stage.start_time);
    }

    #[test]
    fn without_a_valid_traceparent_a_new_trace_starts() {
        let (tracer, _) = tracer();
        for none in [None, Some(""), Some("nonsense"), Some("00-0-0-01")] {
            let span = tracer.start("notify", none, SystemTime::now());
            assert_eq!(span.traceparent().len(), REMOTE_PARENT.len(), "{none:?}");
            assert_ne!(span.trace_id(), TraceId::INVALID);
        }
    }

    #[test]
    fn an_unsampled_trace_is_propagated_but_not_exported() {
        let (tracer, exporter) = tracer();
        let unsampled = REMOTE_PARENT.replace("-01", "-00");
        let span = tracer.start("notify", Some(&unsampled), SystemTime::now());
        assert!(span.traceparent().starts_with(&REMOTE_PARENT[..36]));
        assert!(span.traceparent().ends_with("-00"));
        tracer.record_stage(&span, "kafka", SystemTime::now(), SystemTime::now());
        drop(span);
        assert!(exporter.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_sampling_ratio_is_between_0_and_1() {
        assert_eq!(ratio("0.25"), Ok(0.25));
        for bad in ["-0.1", "1.1", "NaN", "all"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
