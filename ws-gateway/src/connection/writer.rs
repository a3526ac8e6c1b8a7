//! What a client is sent, and in which order: where it stands, what it missed, then what is
//! queued; each text once, and only what it wants.

use std::{
    collections::VecDeque,
    ops::ControlFlow::{self, Continue},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Connection, InitialState, latency::Batch, timestamp};
use crate::{
    hub::outbox::{Drained, Item},
    protocol::{Disconnect, Frame, Resume, State},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) async fn open(&mut self, initial_state: InitialState) -> ControlFlow<Disconnect> {
        let InitialState { resume, missed, resumed_to } = initial_state;
        self.settings.metrics.resumes.of(resume).inc();
        self.resumed_to = resumed_to;
        let mut texts = Vec::with_capacity(1);
        if self.options.control_frames {
            texts.push(self.authenticated(resume));
        }
        let missed = missed.into_iter().filter_map(|frame| self.wanted(frame));
        texts.extend(missed.map(|frame| frame.text));
        let Drained { items, due } = self.registration.outbox().drain();
        let (queued, written) = self.batch(items).into_parts();
        texts.extend(queued);
        self.send(texts).await?;
        // What the client missed is late because the client was away; it is not counted.
        written.observe(due, &self.settings);
        Continue(())
    }

    pub(super) async fn drain(&mut self) -> ControlFlow<Disconnect> {
        self.timers.flush_by = None;
        let Drained { items, due } = self.registration.outbox().drain();
        let depth = u32::try_from(items.len()).unwrap_or(u32::MAX);
        self.settings.metrics.queue_depth.observe(depth.into());
        let (texts, written) = self.batch(items).into_parts();
        self.send(texts).await?;
        written.observe(due, &self.settings);
        Continue(())
    }

    /// What to send for what is queued: without duplicates, through the filter.
    fn batch(&mut self, queued: VecDeque<Item>) -> Batch {
        let mut batch = Batch::for_texts(queued.len());
        for item in queued {
            match item {
                Item::Frame(frame) if self.was_resumed(&frame) => {}
                Item::Frame(frame) => {
                    if let Some(frame) = self.wanted(frame) {
                        batch.push(frame);
                    }
                }
                Item::Gap if self.options.control_frames => {
                    batch.texts.push(self.authenticated(Resume::Incomplete));
                }
                Item::Gap => {}
            }
        }
        batch
    }

    fn was_resumed(&mut self, frame: &Frame) -> bool {
        let (Some(resumed_to), Some(position)) = (self.resumed_to, frame.position) else {
            return false;
        };
        if position > resumed_to {
            // The queue is in order, so nothing after this was sent before.
            self.resumed_to = None;
        }
        position <= resumed_to
    }

    fn wanted(&self, frame: Frame) -> Option<Frame> {
        if self.options.filter.passes(&frame.text) {
            return Some(frame);
        }
        self.settings.metrics.messages_filtered.inc();
        None
    }

    fn authenticated(&self, resume: Resume) -> Utf8Bytes {
        let state = State::Authenticated {
            connection_id: self.registration.connection(),
            last_event_id: self.registration.position().max(self.resumed_to.unwrap_or_default()),
            resume,
            ping_interval_s: whole_seconds(self.settings.ping_interval),
            token_expires_at: timestamp(self.token_expires_at),
        };
        state.to_text()
    }
}

/// Rounds up: a client that reads 0 would take every moment for a missed ping.
fn whole_seconds(interval: Duration) -> u64 {
    interval.as_secs() + u64::from(interval.subsec_nanos() > 0)
}
