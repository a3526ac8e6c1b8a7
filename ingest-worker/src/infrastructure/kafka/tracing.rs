//! The spans of a record, from the time it was written until it is settled. Only called if
//! traces are made.

use std::time::SystemTime;

use shared::trace::{EventSpan, Tracer};

use super::record::InHand;
use crate::domain::{classify::Classification, record::Outcome};

/// Begins the work on records that were judged for the first time, from `since` on, and puts
/// each notification's place in its trace into it.
pub(crate) fn judged(
    tracer: &Tracer,
    records: &mut [InHand<'_>],
    classifications: &mut [Classification],
    since: SystemTime,
) {
    for (record, classification) in records.iter_mut().zip(classifications) {
        if record.trace.is_none() {
            record.trace = Some(begin(tracer, record, classification, since));
        }
        if let Some(trace) = &record.trace {
            classification.set_traceparent(trace.traceparent());
        }
    }
}

fn begin(
    tracer: &Tracer,
    record: &InHand<'_>,
    classification: &Classification,
    since: SystemTime,
) -> EventSpan {
    let written_at = record.written_at().and_then(|at| SystemTime::try_from(at).ok());
    let begun = written_at.map_or(since, |at| at.min(since));
    let mut trace = tracer.start("notify", classification.source.traceparent.as_deref(), begun);
    trace.set_attribute("kafka.topic", record.topic().to_owned());
    trace.set_attribute("kafka.partition", i64::from(record.partition()));
    trace.set_attribute("kafka.offset", record.offset());
    trace.set_attribute("event.type", classification.event_type.name());
    if let Some(correlation_id) = &classification.source.correlation_id {
        trace.set_attribute("correlation_id", correlation_id.to_string());
    }
    tracer.record_stage(&trace, "kafka", begun, since);
    tracer.record_stage(&trace, "judge", since, SystemTime::now());
    trace
}

/// The batch that they are in was published between `since` and now.
pub(crate) fn delivered(tracer: &Tracer, records: &[InHand<'_>], since: SystemTime) {
    let now = SystemTime::now();
    for trace in records.iter().filter_map(|record| record.trace.as_ref()) {
        tracer.record_stage(trace, "publish", since, now);
    }
}

/// The work on a record is over, with this outcome.
pub(crate) fn settled(trace: Option<EventSpan>, outcome: &Outcome) {
    let (Some(mut trace), Some(end)) = (trace, outcome.kind()) else { return };
    trace.set_attribute("outcome", end.label());
    trace.end(SystemTime::now());
}
