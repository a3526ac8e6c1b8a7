//! The spans of a record, from the time it was written until it is finished. Only called if
//! tracing is enabled.

use std::time::SystemTime;

use shared::trace::{EventSpan, Tracer};

use super::record::{InFlightRecord, SourceRecord};
use crate::domain::{classify::Classification, record::OutcomeKind};

/// Starts the spans of records that were classified for the first time, since `since`, and sets
/// the trace context of their notifications.
pub(crate) fn classified<R: SourceRecord>(
    tracer: &Tracer,
    records: &mut [InFlightRecord<R>],
    classifications: &mut [Classification],
    since: SystemTime,
) {
    for (record, classification) in records.iter_mut().zip(classifications) {
        if record.state.span.is_none() {
            record.state.span = Some(start(tracer, record, classification, since));
        }
        if let Some(span) = &record.state.span {
            classification.set_traceparent(span.traceparent());
        }
    }
}

fn start<R: SourceRecord>(
    tracer: &Tracer,
    record: &InFlightRecord<R>,
    classification: &Classification,
    since: SystemTime,
) -> EventSpan {
    let written_at = record.written_at().and_then(|at| SystemTime::try_from(at).ok());
    let begin = written_at.map_or(since, |at| at.min(since));
    let mut span = tracer.start("notify", classification.source.traceparent.as_deref(), begin);
    span.set_attribute("kafka.topic", record.topic().to_owned());
    span.set_attribute("kafka.partition", i64::from(record.partition()));
    span.set_attribute("kafka.offset", record.offset());
    span.set_attribute("event.type", classification.event_type.name());
    if let Some(correlation_id) = &classification.source.correlation_id {
        span.set_attribute("correlation_id", correlation_id.to_string());
    }
    tracer.record_stage(&span, "kafka", begin, since);
    tracer.record_stage(&span, "classify", since, SystemTime::now());
    span
}

/// Records that the batch of these records was published between `since` and now.
pub(crate) fn published<R: SourceRecord>(
    tracer: &Tracer,
    records: &[InFlightRecord<R>],
    since: SystemTime,
) {
    let now = SystemTime::now();
    for span in records.iter().filter_map(|record| record.state.span.as_ref()) {
        tracer.record_stage(span, "publish", since, now);
    }
}

/// Ends the span of a record with its outcome.
pub(crate) fn finished(span: Option<EventSpan>, outcome: OutcomeKind) {
    if let Some(mut span) = span {
        span.set_attribute("outcome", outcome.label());
        span.end(SystemTime::now());
    }
}
