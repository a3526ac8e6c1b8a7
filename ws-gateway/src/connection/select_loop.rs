//! The loop of a connection: one `select!` over history, queue, client, timers and shutdown.

use std::ops::ControlFlow::{self, Break, Continue};

use futures_util::StreamExt;
use tokio::time::{Instant, sleep_until};
use tokio::{pin, select};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::{Channel, Connection, Renewal, channel::Reconnect, timers::TimerEvent};
use crate::{
    auth::{AuthError, Identity},
    hub::{
        Replay, ReplayPage,
        outbox::{Due, Outbox},
    },
    metrics::{Failure, Phase},
    protocol::{CloseReason, Disconnect, Resume, State},
};

/// What a connection waits for.
enum Event {
    /// Queued frames are due, or the hub closes the connection.
    Due(Due),
    /// A page of the history was read.
    Page(ReplayPage),
    /// The client has sent a message, or disconnected.
    Message(Result<Message, Disconnect>),
    /// A new token was checked: what the client is sent.
    Renewed(State),
    /// A deadline has passed.
    Timer,
    /// The gateway shuts down.
    Shutdown,
}

impl<C: Channel> Connection<C> {
    /// Runs until the connection ends. Queued frames wait until the history is sent. After
    /// `shutdown` it ends within the drain window.
    pub async fn run(
        mut self: Box<Self>,
        replay: Replay,
        shutdown: CancellationToken,
    ) -> Disconnect {
        let mut replay = Some(replay);
        let timer = sleep_until(self.deadline());
        let stopping = shutdown.cancelled();
        pin!(timer, stopping);
        let outbox = self.registration.outbox().clone();
        let end = loop {
            let deadline = self.deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            let may_flush = self.sends_every_frame();
            let event = select! {
                due = outbox.due(self.timers.flush_by, may_flush), if replay.is_none() => Event::Due(due),
                due = outbox.urgent(), if replay.is_some() => Event::Due(due),
                page = next_page(&mut replay) => {
                    if page.is_last {
                        // Frees the memory of the replay.
                        replay = None;
                        self.phase.enter(Phase::Open);
                    }
                    Event::Page(page)
                }
                message = self.channel.receive(), if self.next_token.is_none() => Event::Message(message),
                // At once: the answer may be written after the former token has expired.
                renewed = wait(&mut self.renewal) => Event::Renewed(self.replace_token(renewed)),
                () = &mut timer => Event::Timer,
                () = &mut stopping, if self.timers.drain_at.is_none() => Event::Shutdown,
            };
            // Boxed: an idle connection keeps no memory for what it does with events.
            if let Break(end) = Box::pin(self.handle_in_time(event, &outbox, &shutdown)).await {
                break end;
            }
        };
        // Boxed: its state is needed only once.
        Box::pin(self.finish(end)).await;
        end
    }

    async fn finish(self: Box<Self>, end: Disconnect) {
        let Self { channel, registration, options, in_fragments, mut phase, .. } = *self;
        phase.enter(Phase::Closing);
        // The user may open another connection now.
        drop(registration);
        let reconnect = match end {
            Disconnect::ByGateway(reason) => reason.reconnect_after(),
            Disconnect::ByClient | Disconnect::Answered => None,
        };
        let reconnect = reconnect.filter(|_| options.control_frames && !in_fragments);
        let reconnect = reconnect.map(|(reason, after)| Reconnect { reason, after });
        channel.close(end, reconnect).await;
    }

    /// Whether a queued frame is sent as it is, and changes nothing else.
    fn sends_every_frame(&self) -> bool {
        self.options.filter.passes_all() && self.replayed_to.is_none() && self.filtered.is_none()
    }

    fn deadline(&self) -> Instant {
        let next = self.timers.next(&self.settings);
        self.filtered.as_ref().map_or(next, |filtered| filtered.due.min(next))
    }

    /// Handles an event, unless the connection has to be closed meanwhile: a write waits until the
    /// client reads. Its pongs are not read then.
    async fn handle_in_time(
        &mut self,
        event: Event,
        outbox: &Outbox,
        shutdown: &CancellationToken,
    ) -> ControlFlow<Disconnect> {
        let deadlines = self.timers.write_deadlines(&self.settings);
        let reason = select! {
            biased;
            flow = self.handle(event) => return flow,
            reason = outbox.closed() => reason,
            // Sets a timer when it is polled first: most writes finish at once and need none.
            reason = deadlines.passed(shutdown) => reason,
        };
        Break(Disconnect::ByGateway(reason))
    }

    async fn handle(&mut self, event: Event) -> ControlFlow<Disconnect> {
        match event {
            Event::Due(due) => self.on_due(due).await,
            Event::Page(page) => self.send_page(page).await,
            Event::Message(message) => self.on_message(message).await,
            Event::Renewed(state) => self.send_state(state).await,
            Event::Timer => self.on_time().await,
            Event::Shutdown => {
                self.timers.schedule_drain(self.settings.drain_window);
                Continue(())
            }
        }
    }

    async fn on_due(&mut self, due: Due) -> ControlFlow<Disconnect> {
        match due {
            Due::Now => self.drain().await,
            Due::At(time) => {
                self.timers.flush_by = Some(time);
                Continue(())
            }
            Due::Probe => self.ping().await,
            Due::Closed(reason) => Break(Disconnect::ByGateway(reason)),
        }
    }

    async fn on_time(&mut self) -> ControlFlow<Disconnect> {
        let close = |reason| Break(Disconnect::ByGateway(reason));
        match self.timers.due(&self.settings) {
            Some(TimerEvent::Drain) => close(CloseReason::Restarting),
            Some(TimerEvent::TokenExpired) => close(CloseReason::TokenExpired),
            Some(TimerEvent::KeepaliveTimeout) => close(CloseReason::KeepaliveTimeout),
            Some(TimerEvent::Flush) => self.drain().await,
            Some(TimerEvent::Ping) => self.ping().await,
            None if self.filtered.as_ref().is_some_and(|f| f.due <= Instant::now()) => {
                self.send_position().await
            }
            None => Continue(()),
        }
    }

    async fn ping(&mut self) -> ControlFlow<Disconnect> {
        match self.channel.ping().await {
            Ok(()) => self.send(Vec::new()).await,
            Err(end) => Break(end),
        }
    }

    /// Writes texts and everything that the socket has buffered, with one flush.
    pub(super) async fn send(&mut self, texts: Vec<Utf8Bytes>) -> ControlFlow<Disconnect> {
        let count = texts.len() as u64;
        self.registration.outbox().begin_write();
        let written = self.channel.write(texts, &mut self.in_fragments).await;
        if let Err(end) = written
            && end != Disconnect::Answered
        {
            self.settings.metrics.messages_failed.of(Failure::WriteFailed).inc_by(count);
            return Break(end);
        }
        self.settings.metrics.messages_sent.inc_by(count);
        written.map_or_else(Break, Continue)
    }
}

/// Waits for the result of a check, if there is one.
async fn wait(renewal: &mut Option<Renewal>) -> Result<Identity, AuthError> {
    match renewal {
        Some(renewal) => renewal.await,
        None => std::future::pending().await,
    }
}

/// Waits for the next page of the history, if there is one.
async fn next_page(replay: &mut Option<Replay>) -> ReplayPage {
    match replay {
        Some(replay) => {
            let page = replay.next().await;
            page.unwrap_or_else(|| ReplayPage::without_history(Resume::Incomplete))
        }
        None => std::future::pending().await,
    }
}
