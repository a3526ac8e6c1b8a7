//! Traces: from where an event stands in one to the socket, a span a stage; and nothing depends
//! on the collector.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Case, fresh_user},
    eventually,
    producer::Record,
    stack::{Layout, Stack, TIMEOUT},
};
use serde_json::json;
use support::collector::{Collector, Span};
use uuid::Uuid;

use crate::{context::Context, runner::scenarios};

/// One for the worker's work and one for each of its stages.
const SPANS_OF_WORKER: [&str; 4] = ["judge", "kafka", "notify", "publish"];
/// One for the way to a socket and one for each of its stages.
const SPANS_OF_GATEWAY: [&str; 3] = ["deliver", "pubsub", "queue"];

scenarios![
    a_trace_goes_on_from_the_event_to_the_socket,
    a_dead_letter_can_be_found_by_its_trace,
    nothing_waits_for_a_collector_that_is_away,
];

/// Both services send their traces there, without making them wait to be sent.
fn traced(collector: &str) -> Layout {
    let settings = vec![
        ("ENABLE_TRACING", "true".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
    ];
    let (worker_settings, gateway_settings) = (settings.clone(), settings);
    Layout { worker_settings, gateway_settings, ..Layout::default() }
}

/// A place in a trace of its own: the trace, the span, and both as a header.
fn place() -> (String, String, String) {
    let (trace, span) = (Uuid::new_v4().simple().to_string(), Uuid::new_v4().simple().to_string());
    let span = span[..16].to_owned();
    let header = format!("00-{trace}-{span}-01");
    (trace, span, header)
}

fn case() -> anyhow::Result<Case> {
    let mut cases = events::designed()?.into_iter();
    cases.find(|case| case.name() == "class_created").context("there is such an event")
}

/// Where an event says that it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    InHeader,
    InMetadata,
    Nowhere,
}

async fn a_trace_goes_on_from_the_event_to_the_socket(context: &Context) -> anyhow::Result<()> {
    let (collector, user) = (Collector::start().await?, fresh_user());
    let stack = context.own_stack(&traced(collector.url())).await?;
    let mut client = stack.client(&user).await?;
    for said in [Said::InHeader, Said::InMetadata, Said::Nowhere] {
        let (trace, parent, header) = place();
        send(&stack, &user, said, &header).await?;
        let frame = client.next_notification(TIMEOUT).await?;
        let told = frame["trace"].as_str().context("the notification says where it stands")?;
        let parts: Vec<&str> = told.split('-').collect();
        let &["00", told_trace, work, "01"] = &*parts else { anyhow::bail!("{told}") };
        ensure!((told_trace == trace) == (said != Said::Nowhere), "{said:?}: {told}, not {trace}");
        let count = SPANS_OF_WORKER.len() + SPANS_OF_GATEWAY.len();
        let spans = collector.trace(told_trace, count, TIMEOUT).await?;
        let begun_by = if said == Said::Nowhere { "" } else { &parent };
        check(&spans, "ingest-worker", &SPANS_OF_WORKER, begun_by)?;
        check(&spans, "ws-gateway", &SPANS_OF_GATEWAY, work)?;
        let worker = spans.iter().find(|span| span.name == "notify").context("it is there")?;
        ensure!(worker.id == work, "the notification names another span than {worker:?}");
        let outcome = ("outcome".to_owned(), "published".to_owned());
        ensure!(worker.attributes.contains(&outcome), "{worker:?}");
    }
    stack.shut_down_and_check_logs().await
}

async fn send(stack: &Stack, user: &str, said: Said, place: &str) -> anyhow::Result<()> {
    let mut event = case()?.fresh(user)?;
    let metadata = if said == Said::InMetadata { json!({"traceparent": place}) } else { json!({}) };
    event.envelope["metadata"] = metadata;
    let value = event.envelope.to_string();
    let headers = [("traceparent", place)];
    let headers = if said == Said::InHeader { &headers[..] } else { &[] };
    let (topic, value) = (&*event.topic, Some(value.as_bytes()));
    stack.producer.send_record(Record { topic, value, headers, ..Record::default() }).await
}

/// A service did its part: one span under `parent`, and its stages under and within that.
fn check(spans: &[Span], service: &str, names: &[&str], parent: &str) -> anyhow::Result<()> {
    let spans: Vec<&Span> = spans.iter().filter(|span| span.service == service).collect();
    let mut found: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
    found.sort_unstable();
    ensure!(found == names, "{service} sent {found:?}, not {names:?}");
    let whole = spans.iter().find(|span| span.parent == parent);
    let whole = whole.with_context(|| format!("nothing is under {parent:?}: {spans:?}"))?;
    for stage in spans.iter().filter(|span| span.id != whole.id) {
        ensure!(stage.parent == whole.id, "{stage:?} is no part of {whole:?}");
        ensure!(
            stage.time.0 >= whole.time.0 && stage.time.1 <= whole.time.1,
            "{stage:?} is not within {whole:?}"
        );
    }
    Ok(())
}

async fn a_dead_letter_can_be_found_by_its_trace(context: &Context) -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let stack = context.own_stack(&traced(collector.url())).await?;
    let ((trace, _, header), topic) = (place(), case()?.topic);
    let headers = [("traceparent", &*header)];
    let value = Some(br#"{"event_type":"huleedu.class.created.v1","data":{}}"#.as_slice());
    let record = Record { topic: &topic, value, headers: &headers, ..Record::default() };
    stack.producer.send_record(record).await?;
    let spans = collector.trace(&trace, SPANS_OF_WORKER.len(), TIMEOUT).await?;
    let whole = spans.iter().find(|span| span.name == "notify").context("it is there")?;
    let outcome = ("outcome".to_owned(), "dead_lettered".to_owned());
    ensure!(whole.attributes.contains(&outcome), "{whole:?}");
    let log = stack.workers[0].log()?;
    // Other scenarios' records may be dead letters here as well.
    let ours = |line: &str| line.contains("record dead-lettered") && line.contains(&trace);
    ensure!(log.lines().any(ours), "no line names {trace}: {log}");
    stack.shut_down_and_check_logs().await
}

async fn nothing_waits_for_a_collector_that_is_away(context: &Context) -> anyhow::Result<()> {
    let (collector, user) = (Collector::start().await?, fresh_user());
    let layout = traced(collector.url());
    drop(collector);
    let stack = context.own_stack(&layout).await?;
    let mut client = stack.client(&user).await?;
    for _ in 0..50 {
        let event = case()?.fresh(&user)?;
        stack.producer.send(&event).await?;
        let frame = client.next_notification(TIMEOUT).await?;
        ensure!(frame["event_id"] == event.id, "{frame} instead of {}", event.id);
    }
    for service in stack.workers.iter().chain(&stack.gateways) {
        let warning = "export to OTEL_EXPORTER_OTLP_ENDPOINT failed";
        let count = eventually("it is said", TIMEOUT, async || {
            let count = service.log()?.matches(warning).count();
            ensure!(count > 0, "it is not");
            Ok(count)
        })
        .await?;
        ensure!(count == 1, "{} says it {count} times", service.name());
    }
    stack.shut_down_and_check_logs().await
}
