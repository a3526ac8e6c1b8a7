//! The latency of the notifications in one write: collected while the write is assembled, observed
//! when it is done. Reads the clock once per write.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::settings::ConnectionSettings;
use crate::protocol::{Frame, Position, TraceContext};

/// Texts that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) texts: Vec<Utf8Bytes>,
    notifications: Vec<Notification>,
}

/// A notification in a batch.
#[derive(Debug)]
struct Notification {
    position: Position,
    low_priority: bool,
    trace_context: Option<Box<TraceContext>>,
}

impl Batch {
    pub(super) fn for_texts(count: usize) -> Self {
        Self { texts: Vec::with_capacity(count), notifications: Vec::with_capacity(count) }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        let Frame { text, position, low_priority, trace_context, .. } = frame;
        let notification = |position| Notification { position, low_priority, trace_context };
        self.notifications.extend(position.map(notification));
        self.texts.push(text);
    }

    /// Returns the texts, and what is observed after they are written.
    pub(super) fn into_parts(self) -> (Vec<Utf8Bytes>, Written) {
        (self.texts, Written(self.notifications))
    }
}

/// The notifications of a batch that is being written.
#[derive(Debug)]
pub(super) struct Written(Vec<Notification>);

impl Written {
    /// Observes the latency now that the batch, which was `due` then, is on the socket.
    pub(super) fn observe(self, due: Option<Instant>, settings: &ConnectionSettings) {
        let ConnectionSettings { metrics, tracer, .. } = settings;
        if let Some(due) = due {
            metrics.queued.observe(due.elapsed().as_secs_f64());
        }
        let now = SystemTime::now();
        for Notification { position, low_priority, trace_context } in self.0 {
            metrics.observe_delivery(position, low_priority, now);
            if let Some((tracer, TraceContext { parent, received_at })) =
                tracer.as_ref().zip(trace_context.as_deref())
            {
                let wait = Duration::from_secs_f64(position.age(*received_at));
                let published_at = *received_at - wait;
                let trace = tracer.start("deliver", Some(parent), published_at);
                tracer.record_stage(&trace, "pubsub", published_at, *received_at);
                tracer.record_stage(&trace, "queue", *received_at, now);
                trace.end(now);
            }
        }
    }
}
