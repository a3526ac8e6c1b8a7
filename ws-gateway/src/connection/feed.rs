//! What a client is sent, and in which order: where it stands, what it missed, then what is
//! queued; each text once, and only what it wants.

use std::{collections::VecDeque, ops::ControlFlow};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Connection, End, Opening, timestamp};
use crate::{
    frame::Frame,
    outbox::Item,
    protocol::{Resume, State},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) async fn open(&mut self, opening: Opening) -> ControlFlow<End> {
        let Opening { resume, missed, resumed_to } = opening;
        self.terms.metrics.resumes.with_label_values(&[resume.label()]).inc();
        self.resumed_to = resumed_to;
        let mut texts = Vec::with_capacity(1);
        if self.wishes.understands_states {
            texts.push(self.authenticated(resume));
        }
        texts.extend(missed.into_iter().filter_map(|frame| self.wanted(frame)));
        let queued = self.registration.outbox().take();
        texts.extend(self.texts(queued));
        self.send(texts).await
    }

    pub(super) async fn drain(&mut self) -> ControlFlow<End> {
        self.clock.flush_by = None;
        let queued = self.registration.outbox().take();
        let texts = self.texts(queued);
        self.send(texts).await
    }

    /// The texts to send for what is queued: without duplicates, through the filter.
    fn texts(&mut self, queued: VecDeque<Item>) -> Vec<Utf8Bytes> {
        let mut texts = Vec::with_capacity(queued.len());
        for item in queued {
            match item {
                Item::Frame(frame) if self.was_resumed(&frame) => {}
                Item::Frame(frame) => texts.extend(self.wanted(frame)),
                Item::Gap if self.wishes.understands_states => {
                    texts.push(self.authenticated(Resume::Incomplete));
                }
                Item::Gap => {}
            }
        }
        texts
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

    fn wanted(&self, frame: Frame) -> Option<Utf8Bytes> {
        if self.wishes.filter.passes(&frame.text) {
            return Some(frame.text);
        }
        self.terms.metrics.messages_filtered.inc();
        None
    }

    fn authenticated(&self, resume: Resume) -> Utf8Bytes {
        let state = State::Authenticated {
            connection_id: self.registration.connection(),
            last_event_id: self.registration.position().max(self.resumed_to.unwrap_or_default()),
            resume,
            ping_interval_s: self.terms.ping_interval.as_secs(),
            token_expires_at: timestamp(self.token_expires_at),
        };
        state.to_text()
    }
}
