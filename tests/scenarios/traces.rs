//! Traces: one trace from the producer of an event to the socket, with a span for each stage.
//! Delivery does not depend on the collector.

use anyhow::{Context as _, bail, ensure};
use harness::{
    events::{self, Case, fresh_user},
    eventually,
    producer::Record,
    stack::{Layout, Stack, TIMEOUT},
};
use serde_json::json;
use support::collector::{Collector, Span};
use uuid::Uuid;

use crate::{assertions::wait_for_dead_letters, context::Context, runner::scenarios};

scenarios![
    a_trace_continues_from_the_producer_to_the_socket,
    the_log_line_of_a_dead_letter_names_its_trace,
    an_unreachable_collector_delays_nothing_and_is_logged_once,
];

/// The spans of the worker: the whole and each stage.
const WORKER_SPANS: [&str; 4] = ["classify", "kafka", "notify", "publish"];
/// The spans of the gateway: the whole and each stage.
const GATEWAY_SPANS: [&str; 3] = ["deliver", "pubsub", "queue"];

/// Both services export to the collector with little delay.
fn traced(collector: &str) -> Layout {
    let settings = vec![
        ("ENABLE_TRACING", "true".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
    ];
    let (worker_settings, gateway_settings) = (settings.clone(), settings);
    Layout { worker_settings, gateway_settings, ..Layout::default() }
}

/// The trace context of a producer.
struct TraceContext {
    trace: String,
    span: String,
}

impl TraceContext {
    fn fresh() -> Self {
        let [trace, mut span] = [(); 2].map(|()| Uuid::new_v4().simple().to_string());
        span.truncate(16);
        Self { trace, span }
    }

    fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }
}

fn case() -> anyhow::Result<Case> {
    let mut cases = events::designed()?.into_iter();
    cases.find(|case| case.name() == "class_created").context("the fixtures have such an event")
}

/// Where an event carries its trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Header,
    Metadata,
    None,
}

async fn a_trace_continues_from_the_producer_to_the_socket(
    context: &Context,
) -> anyhow::Result<()> {
    let (collector, user) = (Collector::start().await?, fresh_user());
    let stack = context.own_stack(&traced(collector.url())).await?;
    let mut client = stack.client(&user).await?;
    for carrier in [Carrier::Header, Carrier::Metadata, Carrier::None] {
        let producer = TraceContext::fresh();
        send(&stack, &user, carrier, &producer.traceparent()).await?;
        let frame = client.next_notification(TIMEOUT).await?;
        let traceparent = frame["trace"].as_str().context("the notification has a trace")?;
        let parts: Vec<&str> = traceparent.split('-').collect();
        let &["00", trace, worker_span, "01"] = &*parts else { bail!("invalid: {traceparent}") };
        let is_continued = trace == producer.trace;
        ensure!(
            is_continued == (carrier != Carrier::None),
            "{carrier:?}: sent trace {}, got {traceparent}",
            producer.trace
        );

        let count = WORKER_SPANS.len() + GATEWAY_SPANS.len();
        let spans = collector.trace(trace, count, TIMEOUT).await?;
        let parent = if carrier == Carrier::None { "" } else { &producer.span };
        check_spans(&spans, "ingest-worker", &WORKER_SPANS, parent)?;
        check_spans(&spans, "ws-gateway", &GATEWAY_SPANS, worker_span)?;
        let whole = find(&spans, "notify")?;
        ensure!(whole.id == worker_span, "expected the parent {whole:?} in {traceparent}");
        expect_outcome(whole, "published")?;
    }
    stack.shut_down_and_check_logs().await
}

async fn send(
    stack: &Stack,
    user: &str,
    carrier: Carrier,
    traceparent: &str,
) -> anyhow::Result<()> {
    let mut event = case()?.fresh(user)?;
    let header = [("traceparent", traceparent)];
    let mut headers = &[][..];
    event.envelope["metadata"] = json!({});
    match carrier {
        Carrier::Header => headers = &header,
        Carrier::Metadata => event.envelope["metadata"]["traceparent"] = traceparent.into(),
        Carrier::None => {}
    }
    let value = event.envelope.to_string();
    let (topic, value) = (&*event.topic, Some(value.as_bytes()));
    stack.producer.send_record(Record { topic, value, headers, ..Record::default() }).await
}

fn find<'a>(spans: &'a [Span], name: &str) -> anyhow::Result<&'a Span> {
    spans.iter().find(|span| span.name == name).with_context(|| format!("no span {name}"))
}

fn expect_outcome(span: &Span, outcome: &str) -> anyhow::Result<()> {
    let attribute = ("outcome".to_owned(), outcome.to_owned());
    ensure!(span.attributes.contains(&attribute), "expected outcome {outcome}, got {span:?}");
    Ok(())
}

/// Checks that a service exported exactly these spans: one below `parent`, the others below that
/// one and within its time.
fn check_spans(spans: &[Span], service: &str, names: &[&str], parent: &str) -> anyhow::Result<()> {
    let spans: Vec<&Span> = spans.iter().filter(|span| span.service == service).collect();
    let mut found: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    found.sort_unstable();
    ensure!(found == names, "{service}: expected spans {names:?}, got {found:?}");
    let whole = spans.iter().find(|span| span.parent == parent);
    let whole = whole.with_context(|| format!("no span has the parent {parent:?}: {spans:?}"))?;
    for stage in spans.iter().filter(|span| span.id != whole.id) {
        ensure!(stage.parent == whole.id, "expected {stage:?} below {whole:?}");
        let is_within = stage.time.0 >= whole.time.0 && stage.time.1 <= whole.time.1;
        ensure!(is_within, "expected {stage:?} within the time of {whole:?}");
    }
    Ok(())
}

async fn the_log_line_of_a_dead_letter_names_its_trace(context: &Context) -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let stack = context.own_stack(&traced(collector.url())).await?;
    let (producer, topic, key) = (TraceContext::fresh(), case()?.topic, fresh_user());
    let traceparent = producer.traceparent();
    let headers = [("traceparent", &*traceparent)];
    let value = Some(br#"{"event_type":"huleedu.class.created.v1","data":{}}"#.as_slice());
    let (topic, key) = (&*topic, Some(&*key));
    let record = Record { topic, key, value, headers: &headers, ..Record::default() };
    stack.producer.send_record(record).await?;
    wait_for_dead_letters(&stack, &[key.unwrap_or_default()]).await?;
    let spans = collector.trace(&producer.trace, WORKER_SPANS.len(), TIMEOUT).await?;
    expect_outcome(find(&spans, "notify")?, "dead_lettered")?;
    let log = stack.workers[0].log()?;
    let is_ours =
        |line: &str| line.contains("record dead-lettered") && line.contains(&producer.trace);
    ensure!(log.lines().any(is_ours), "no line names trace {}: {log}", producer.trace);
    stack.shut_down_and_check_logs().await
}

async fn an_unreachable_collector_delays_nothing_and_is_logged_once(
    context: &Context,
) -> anyhow::Result<()> {
    const WARNING: &str = "exporting spans to OTEL_EXPORTER_OTLP_ENDPOINT failed";
    let (collector, user) = (Collector::start().await?, fresh_user());
    let layout = traced(collector.url());
    drop(collector);
    let stack = context.own_stack(&layout).await?;
    let mut client = stack.client(&user).await?;
    for _ in 0..50 {
        let event = case()?.fresh(&user)?;
        stack.producer.send(&event).await?;
        let frame = client.next_notification(TIMEOUT).await?;
        ensure!(frame["event_id"] == event.id, "expected event {}, got {frame}", event.id);
    }
    for service in stack.workers.iter().chain(&stack.gateways) {
        let warnings = async || {
            let count = service.log()?.matches(WARNING).count();
            ensure!(count > 0, "{} has not logged it", service.name());
            Ok(count)
        };
        let count = eventually("the failed export is logged", TIMEOUT, warnings).await?;
        ensure!(count == 1, "{}: expected one warning, got {count}", service.name());
    }
    stack.shut_down_and_check_logs().await
}
