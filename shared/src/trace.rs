//! Traces: spans for a collector, and the place in a trace that travels with an event, the W3C
//! `traceparent`. Unless tracing is enabled there is no [`Tracer`], and nothing here runs. A span
//! never waits for the collector: what it does not take in time is dropped.

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

/// Under which name a place in a trace travels: a header, and a key of the envelope's metadata.
pub const TRACEPARENT: &str = "traceparent";

/// Whether and where traces are sent.
#[derive(Clone, Debug, clap::Args)]
pub struct TraceSettings {
    /// Whether each notification is traced, and carries its place in the trace as `trace`
    #[arg(long, env = "ENABLE_TRACING", default_value = "false", action = clap::ArgAction::Set)]
    pub enable_tracing: bool,
    /// Collector that traces are sent to, by OTLP over HTTP; `/v1/traces` is added to it
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "http://localhost:4318")]
    pub otel_exporter_otlp_endpoint: Uri,
    /// Share of the traces that begin here, from 0 to 1; those that began elsewhere say themselves
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_parser = share)]
    pub otel_traces_sampler_arg: f64,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".into()),
    }
}

/// Makes spans and sends them, many at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    spans: SdkTracer,
    provider: SdkTracerProvider,
}

/// A stretch of work on one event. It ends, and is sent, when it is dropped.
#[derive(Debug)]
pub struct EventSpan(Span);

impl Tracer {
    /// A tracer for `service`, if tracing is enabled. Sends on the runtime that it is made in.
    ///
    /// # Errors
    /// When the collector's address or the system's certificates cannot be used.
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

    /// Begins the work on an event that came with the place `parent` in a trace; without a valid
    /// one a trace begins here.
    #[must_use]
    pub fn start(&self, name: &'static str, parent: Option<&str>, at: SystemTime) -> EventSpan {
        let place = TraceparentExtractor(parent.unwrap_or_default());
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &place);
        let span = self.spans.span_builder(name).with_kind(SpanKind::Consumer).with_start_time(at);
        EventSpan(span.start_with_context(&self.spans, &parent))
    }

    /// Adds a stage of the work that is over.
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
        // Clocks of different machines differ; no stage takes less than no time.
        let span = self.spans.span_builder(name).with_start_time(from);
        span.start_with_context(&self.spans, &parent).end_with_timestamp(to.max(from));
    }
}

/// Sends what is left, for at most `grace`, if there is a tracer.
pub async fn shut_down(tracer: Option<Tracer>, grace: Duration) {
    let Some(Tracer { provider, .. }) = tracer else { return };
    let shutdown = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(grace));
    if !matches!(shutdown.await, Ok(Ok(()))) {
        warn!("the last spans were not sent");
    }
}

impl EventSpan {
    /// Its place in the trace, for whoever goes on from here.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let place = self.0.span_context();
        format!("00-{}-{}-{:02x}", place.trace_id(), place.span_id(), place.trace_flags())
    }

    /// Names the trace in logs.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.0.span_context().trace_id()
    }

    /// Says something about the work.
    pub fn set_attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(name, value));
    }

    /// The work is over.
    pub fn end(mut self, at: SystemTime) {
        self.0.end_with_timestamp(at);
    }
}

/// A `traceparent` in the form that its reader wants.
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

    /// Keeps what was sent.
    #[derive(Clone, Debug, Default)]
    struct Sent(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Sent {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    const ELSEWHERE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn tracer() -> (Tracer, Sent) {
        let sent = Sent::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(sent.clone()).build();
        (Tracer { spans: provider.tracer("test"), provider }, sent)
    }

    fn named(sent: &Sent, name: &str) -> SpanData {
        sent.0.lock().unwrap().iter().find(|span| span.name == name).unwrap().clone()
    }

    #[test]
    fn work_goes_on_in_the_trace_that_came_with_the_event() {
        let (tracer, sent) = tracer();
        let at = SystemTime::now();
        let work = tracer.start("notify", Some(ELSEWHERE), at);
        assert_eq!(work.traceparent()[..36], ELSEWHERE[..36]);
        assert_ne!(work.traceparent(), ELSEWHERE);
        tracer.record_stage(&work, "kafka", at, at - Duration::from_secs(1));
        work.end(at);
        let (whole, stage) = (named(&sent, "notify"), named(&sent, "kafka"));
        assert_eq!(whole.parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(stage.parent_span_id, whole.span_context.span_id());
        assert_eq!(stage.end_time, stage.start_time);
    }

    #[test]
    fn without_a_valid_place_a_trace_begins() {
        let (tracer, _) = tracer();
        for none in [None, Some(""), Some("nonsense"), Some("00-0-0-01")] {
            let work = tracer.start("notify", none, SystemTime::now());
            assert_eq!(work.traceparent().len(), ELSEWHERE.len(), "{none:?}");
            assert_ne!(work.trace_id(), TraceId::INVALID);
        }
    }

    #[test]
    fn what_is_not_sampled_elsewhere_is_passed_on_and_not_sent() {
        let (tracer, sent) = tracer();
        let unsampled = ELSEWHERE.replace("-01", "-00");
        let work = tracer.start("notify", Some(&unsampled), SystemTime::now());
        assert!(work.traceparent().starts_with(&ELSEWHERE[..36]));
        assert!(work.traceparent().ends_with("-00"));
        tracer.record_stage(&work, "kafka", SystemTime::now(), SystemTime::now());
        drop(work);
        assert!(sent.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_share_is_from_nothing_to_all() {
        assert_eq!(share("0.25"), Ok(0.25));
        for bad in ["-0.1", "1.1", "NaN", "all"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
