//! One socket's pump, in one task: outbox, frames of the client, heartbeat, token expiry and
//! shutdown, until there is a reason to end. Nothing a client says stops delivery, but for a
//! protocol error.

mod close;
mod latency;
mod phase_gauge;
mod reader;
mod timers;
mod wire;
mod writer;

use std::{
    num::NonZeroU32,
    ops::ControlFlow::{self, Break, Continue},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use shared::trace::Tracer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::{pin, select, time};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, Utf8Bytes},
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Authenticator, Identity},
    hub::{Registration, outbox::Due},
    metrics::{Failure, Metrics, Phase},
    protocol::{CloseReason, Filter, Frame, Position, Resume, State},
};
pub use close::close;
use phase_gauge::Standing;
use timers::Clock;
pub use wire::socket_config;

/// What holds for every connection.
#[derive(Debug)]
pub struct Terms {
    /// How often a client is pinged.
    pub ping_interval: Duration,
    /// How long a client may give no sign of life.
    pub silence_limit: Duration,
    /// How long a connection outlives its token.
    pub expiry_grace: Duration,
    /// Most messages of a client in a second.
    pub max_messages_per_second: NonZeroU32,
    /// Time over which connections close when the gateway stops.
    pub drain_window: Duration,
    /// Checks new tokens of live connections.
    pub authenticator: Authenticator,
    /// Counts.
    pub metrics: Metrics,
    /// Makes traces, if there are to be any.
    pub tracer: Option<Tracer>,
}

/// What a client asked for when it connected.
#[derive(Debug)]
pub struct Wishes {
    /// Whether it understands frames of the connection.
    pub understands_states: bool,
    /// What it wants to receive.
    pub filter: Filter,
}

/// What a connection begins with, once its subscription stands.
#[derive(Debug)]
pub struct Opening {
    /// Whether the client missed anything that does not follow.
    pub resume: Resume,
    /// What it missed.
    pub missed: Vec<Frame>,
    /// Up to where it has everything then; what is queued up to here is not sent again.
    pub resumed_to: Option<Position>,
}

impl Opening {
    /// For a client that is sent nothing of the past.
    #[must_use]
    pub fn without_past(resume: Resume) -> Self {
        Self { resume, missed: Vec::new(), resumed_to: None }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The gateway has a reason to close it.
    Close(CloseReason),
    /// The client left or cannot be reached.
    ClientLeft,
}

impl End {
    /// The label of metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Close(reason) => reason.label(),
            Self::ClientLeft => "client",
        }
    }
}

/// A socket and all that its task needs.
#[derive(Debug)]
pub struct Connection<S> {
    socket: WebSocketStream<S>,
    registration: Registration,
    wishes: Wishes,
    token_expires_at: u64,
    terms: Arc<Terms>,
    clock: Clock,
    standing: Standing,
    /// What is queued up to here was sent as missed; none once something newer came.
    resumed_to: Option<Position>,
    /// Whether a text was begun and not finished.
    in_fragments: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection that is ready to run. Boxed, as the future of [`Connection::run`] would hold
    /// it twice.
    pub fn new(
        socket: WebSocketStream<S>,
        registration: Registration,
        identity: &Identity,
        wishes: Wishes,
        terms: Arc<Terms>,
    ) -> Box<Self> {
        Box::new(Self {
            socket,
            registration,
            wishes,
            token_expires_at: identity.expires_at,
            clock: Clock::new(&terms, identity.valid_for()),
            standing: Standing::new(Arc::clone(&terms)),
            terms,
            resumed_to: None,
            in_fragments: false,
        })
    }

    /// Lasts as long as the connection: until `opening` the client only sees pongs, then
    /// everything. After `shutdown` it ends within the drain window.
    pub async fn run(
        mut self: Box<Self>,
        opening: Pin<Box<dyn Future<Output = Opening> + Send>>,
        shutdown: CancellationToken,
    ) -> End {
        let mut opening = Some(opening);
        let timer = time::sleep_until(self.clock.next());
        let stopping = shutdown.cancelled();
        pin!(timer, stopping);
        let outbox = self.registration.outbox().clone();
        let end = loop {
            if timer.deadline() != self.clock.next() {
                timer.as_mut().reset(self.clock.next());
            }
            let step = select! {
                due = outbox.due(self.clock.flush_by), if opening.is_none() => self.on_due(due).await,
                reason = outbox.ended(), if opening.is_some() => Break(End::Close(reason)),
                opened = poll(&mut opening) => {
                    // Its memory is not needed any more.
                    opening = None;
                    self.standing.enter(Phase::Open);
                    Box::pin(self.open(opened)).await
                }
                message = self.socket.next(), if self.clock.reads() => self.on_message(message).await,
                () = &mut timer => self.on_time().await,
                () = &mut stopping, if self.clock.leave_at.is_none() => {
                    self.clock.leave_within(self.terms.drain_window);
                    Continue(())
                }
            };
            if let Break(end) = step {
                break end;
            }
        };
        // Boxed, as it is needed only once.
        Box::pin(self.finish(end)).await;
        end
    }

    async fn finish(self: Box<Self>, end: End) {
        let Self { mut socket, registration, terms, wishes, in_fragments, mut standing, .. } =
            *self;
        standing.enter(Phase::Closing);
        // From here on nothing is queued, and the place is free for another connection.
        drop(registration);
        match end {
            End::Close(reason) => {
                let state = reason.reconnect_within(terms.drain_window).map(disconnected);
                let state = state.filter(|_| wishes.understands_states && !in_fragments);
                close(socket, reason, state).await;
            }
            // The answer to the client's own close.
            End::ClientLeft => drop(time::timeout(close::TIMEOUT, socket.flush()).await),
        }
    }

    async fn on_due(&mut self, due: Due) -> ControlFlow<End> {
        match due {
            Due::Now => self.drain().await,
            Due::By(time) => {
                self.clock.flush_by = Some(time);
                Continue(())
            }
            Due::Ended(reason) => Break(End::Close(reason)),
        }
    }

    async fn on_time(&mut self) -> ControlFlow<End> {
        match self.clock.due() {
            Some(timers::Event::Leave) => Break(End::Close(CloseReason::Restarting)),
            Some(timers::Event::TokenExpired) => Break(End::Close(CloseReason::TokenExpired)),
            Some(timers::Event::Silent) => Break(End::Close(CloseReason::Silent)),
            Some(timers::Event::Flush) => self.drain().await,
            Some(timers::Event::Ping) => {
                let ping = self.socket.feed(Message::Ping(Vec::new().into()));
                match time::timeout(self.terms.silence_limit, ping).await {
                    Ok(Ok(())) => self.send(Vec::new()).await,
                    _ => Break(End::ClientLeft),
                }
            }
            None => Continue(()),
        }
    }

    /// Writes texts and everything the socket has queued, and flushes once.
    async fn send(&mut self, texts: Vec<Utf8Bytes>) -> ControlFlow<End> {
        let count = texts.len() as u64;
        let outbox = self.registration.outbox().clone();
        let written = select! {
            biased;
            written = wire::write(&mut self.socket, texts, &mut self.in_fragments) => written,
            reason = outbox.ended() => return Break(End::Close(reason)),
            () = time::sleep(self.terms.silence_limit) => return Break(End::Close(CloseReason::Silent)),
        };
        if let Err(error) = written {
            self.terms.metrics.messages_failed.of(Failure::WriteFailed).inc_by(count);
            return Break(wire::end_after(&error));
        }
        self.terms.metrics.messages_sent.inc_by(count);
        Continue(())
    }
}

/// Waits for the opening, if it has not come yet.
async fn poll(opening: &mut Option<Pin<Box<dyn Future<Output = Opening> + Send>>>) -> Opening {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

fn disconnected((reason, after): (&'static str, Duration)) -> Utf8Bytes {
    let reconnect_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    State::Disconnected { reason, reconnect_after_ms }.to_text()
}

fn timestamp(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
