//! What a client is sent and in which order: the state of the connection, its history, then the
//! queue; each frame once, and only what passes the filter.

use std::{
    collections::VecDeque,
    mem,
    ops::ControlFlow::{self, Continue},
    time::Duration,
};

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Channel, Connection, Filtered, latency::Batch, timestamp};
use crate::{
    hub::{
        ReplayPage,
        outbox::{Drained, Item},
    },
    protocol::{Disconnect, Frame, Position, ReadSummary, Resume, State},
};

/// How long a client with a filter waits for the position of frames that it is not sent.
const POSITION_DELAY: Duration = Duration::from_secs(5);

impl<C: Channel> Connection<C> {
    pub(super) async fn send_page(&mut self, page: ReplayPage) -> ControlFlow<Disconnect> {
        let ReplayPage { resume, frames, replayed_to, is_last, read } = page;
        let is_first = !mem::replace(&mut self.is_authenticated, true);
        if is_first {
            self.settings.metrics.resumes.of(resume).inc();
        }
        self.replayed_to = replayed_to;
        if is_first || resume == Resume::Incomplete {
            self.channel.set_resume(resume);
        }
        if let Some(read) = &read {
            self.channel.set_read_state(read);
        }
        let reached = if is_last { Some(self.newest_position()) } else { replayed_to };
        if let Some(position) = reached {
            self.channel.set_position(position);
        }
        // No frame would move the client's position over the gap, so the next resume would report it
        // again.
        let moves_position = self.options.control_frames
            && is_last
            && resume == Resume::Incomplete
            && frames.is_empty();
        let mut texts = Vec::with_capacity(1);
        if self.options.control_frames && (is_first || resume == Resume::Incomplete) {
            texts.push(self.authenticated(resume, read));
        }
        for frame in frames {
            texts.extend(self.wanted(frame).map(|frame| frame.text));
        }
        if !is_last {
            return self.send(texts).await;
        }
        let Drained { items, due } = self.registration.outbox().drain();
        // After a gap in the queue, the user's position may be smaller than those of the queue.
        let newest_queued = items.iter().filter_map(Item::position).max();
        let (queued, written) = self.batch(items).into_parts();
        texts.extend(queued);
        let is_ahead = |position: &Position| moves_position && Some(*position) >= newest_queued;
        if let Some(last_event_id) = reached.filter(is_ahead) {
            texts.push(State::Position { last_event_id }.to_text());
        }
        self.send(texts).await?;
        // The history is late because the client was disconnected; its latency is not observed.
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

    /// Sends the position of frames that the filter held back, so that a resume from it is
    /// complete.
    pub(super) async fn send_position(&mut self) -> ControlFlow<Disconnect> {
        let Some(Filtered { position, .. }) = self.filtered.take().map(|filtered| *filtered) else {
            return Continue(());
        };
        self.send(vec![State::Position { last_event_id: position }.to_text()]).await
    }

    /// Returns what to send for queued items: without duplicates, through the filter.
    fn batch(&mut self, queued: VecDeque<Item>) -> Batch {
        let mut batch = Batch::for_texts(queued.len());
        for item in queued {
            match item {
                // Redis may have lost it before the history was read.
                Item::Frame(frame) if self.was_replayed(&frame) => {
                    self.registration.outbox().forget(&frame);
                }
                Item::Frame(frame) => {
                    if let Some(frame) = self.wanted(frame) {
                        batch.push(frame);
                    }
                }
                Item::Gap => {
                    self.channel.set_resume(Resume::Incomplete);
                    if self.options.control_frames {
                        batch.texts.push(self.authenticated(Resume::Incomplete, None));
                    }
                }
            }
        }
        batch
    }

    fn was_replayed(&mut self, frame: &Frame) -> bool {
        let (Some(replayed_to), Some(position)) = (self.replayed_to, frame.position) else {
            return false;
        };
        if position > replayed_to {
            // The queue is in order: no later frame was replayed.
            self.replayed_to = None;
        }
        position <= replayed_to
    }

    fn wanted(&mut self, frame: Frame) -> Option<Frame> {
        if let Some(position) = frame.position {
            self.channel.set_position(position);
        }
        if self.options.filter.passes(&frame.text) {
            if frame.position.is_some() {
                self.filtered = None;
            }
            return Some(frame);
        }
        self.settings.metrics.messages_filtered.inc();
        self.registration.outbox().forget(&frame);
        if let Some(position) = frame.position.filter(|_| self.options.control_frames) {
            if let Some(filtered) = &mut self.filtered {
                filtered.position = position;
            } else {
                let due = Instant::now() + POSITION_DELAY;
                self.filtered = Some(Box::new(Filtered { position, due }));
            }
        }
        None
    }

    /// Returns the position of everything that was queued so far.
    fn newest_position(&self) -> Position {
        self.registration.position().max(self.replayed_to.unwrap_or_default())
    }

    fn authenticated(&self, resume: Resume, read: Option<ReadSummary>) -> Utf8Bytes {
        let state = State::Authenticated {
            connection_id: self.registration.connection(),
            last_event_id: self.newest_position(),
            resume,
            ping_interval_s: whole_seconds(self.settings.ping_interval),
            token_expires_at: timestamp(self.token_expires_at),
            read,
        };
        state.to_text()
    }
}

/// Rounds up: with an interval of 0 a client would always miss a ping.
fn whole_seconds(interval: Duration) -> u64 {
    interval.as_secs() + u64::from(interval.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ping_interval_is_0_s() {
        for (millis, seconds) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
    }
}
