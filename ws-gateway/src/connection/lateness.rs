//! How late the notifications of one write were: noted while the write is put together, observed
//! once it is done. Costs one look at the clock a write.

use std::time::SystemTime;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{
    frame::Frame,
    metrics::{Metrics, Urgency},
    position::Position,
};

/// Texts to be written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) texts: Vec<Utf8Bytes>,
    notifications: Vec<Times>,
}

/// When a notification began its way.
#[derive(Debug)]
struct Times {
    position: Position,
    happened_at: Option<SystemTime>,
    urgency: Urgency,
}

impl Batch {
    pub(super) fn for_texts(count: usize) -> Self {
        Self { texts: Vec::with_capacity(count), notifications: Vec::with_capacity(count) }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        let Frame { text, position, may_wait, happened_at } = frame;
        let urgency = if may_wait { Urgency::Low } else { Urgency::Prompt };
        let times = |position| Times { position, happened_at, urgency };
        self.notifications.extend(position.map(times));
        self.texts.push(text);
    }

    /// What is left of it once the texts are taken.
    pub(super) fn into_parts(self) -> (Vec<Utf8Bytes>, Written) {
        (self.texts, Written(self.notifications))
    }
}

/// The notifications of a batch that is being written.
#[derive(Debug)]
pub(super) struct Written(Vec<Times>);

impl Written {
    /// They are on the socket now, and should have been when the queue was `due`.
    pub(super) fn observe(self, due: Option<Instant>, metrics: &Metrics) {
        if let Some(due) = due {
            metrics.queued.observe(due.elapsed().as_secs_f64());
        }
        let now = SystemTime::now();
        for Times { position, happened_at, urgency } in self.0 {
            metrics.delivery.of(urgency).observe(position.age(now));
            if let Some(happened_at) = happened_at {
                let age = now.duration_since(happened_at).unwrap_or_default();
                metrics.event_age.of(urgency).observe(age.as_secs_f64());
            }
        }
    }
}
