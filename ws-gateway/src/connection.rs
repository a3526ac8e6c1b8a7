//! One socket's pump, in one task: outbox, frames of the client, heartbeat, token expiry and
//! shutdown, until there is a reason to end. Nothing a client says stops delivery, but for a
//! protocol error.

mod close;
mod frame_limiter;
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
    protocol::{CloseReason, Disconnect, Filter, Frame, Position, Resume, State},
};
pub use close::close;
pub use frame_limiter::FrameLimiter;
use phase_gauge::PhaseGauge;
use timers::{TimerEvent, Timers};
pub use wire::socket_config;

/// What holds for every connection.
#[derive(Debug)]
pub struct ConnectionSettings {
    /// How often a client is pinged.
    pub ping_interval: Duration,
    /// How long a client may give no sign of life.
    pub keepalive_timeout: Duration,
    /// How long a connection outlives its token.
    pub expiry_grace: Duration,
    /// Largest message of a client that is not a new token, in bytes.
    pub max_message_size: usize,
    /// Most frames of a client in a second: messages, pings and pongs, each fragment counted.
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
pub struct ClientOptions {
    /// Whether it understands frames of the connection.
    pub control_frames: bool,
    /// What it wants to receive.
    pub filter: Filter,
}

/// What a connection begins with, once its subscription stands.
#[derive(Debug)]
pub struct InitialState {
    /// Whether the client missed anything that does not follow.
    pub resume: Resume,
    /// What it missed.
    pub missed: Vec<Frame>,
    /// Up to where it has everything then; what is queued up to here is not sent again.
    pub resumed_to: Option<Position>,
}

impl InitialState {
    /// For a client that is sent nothing of the past.
    #[must_use]
    pub fn without_replay(resume: Resume) -> Self {
        Self { resume, missed: Vec::new(), resumed_to: None }
    }
}

/// A socket and all that its task needs.
#[derive(Debug)]
pub struct Connection<S> {
    socket: WebSocketStream<S>,
    registration: Registration,
    options: ClientOptions,
    token_expires_at: u64,
    settings: Arc<ConnectionSettings>,
    timers: Timers,
    phase: PhaseGauge,
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
        options: ClientOptions,
        settings: Arc<ConnectionSettings>,
    ) -> Box<Self> {
        Box::new(Self {
            socket,
            registration,
            options,
            token_expires_at: identity.expires_at,
            timers: Timers::new(&settings, identity.valid_for()),
            phase: PhaseGauge::new(Arc::clone(&settings)),
            settings,
            resumed_to: None,
            in_fragments: false,
        })
    }

    /// Lasts as long as the connection: until `initial_state` the client only sees pongs, then
    /// everything. After `shutdown` it ends within the drain window.
    pub async fn run(
        mut self: Box<Self>,
        initial_state: Pin<Box<dyn Future<Output = InitialState> + Send>>,
        shutdown: CancellationToken,
    ) -> Disconnect {
        let mut initial_state = Some(initial_state);
        let timer = time::sleep_until(self.timers.next());
        let stopping = shutdown.cancelled();
        pin!(timer, stopping);
        let outbox = self.registration.outbox().clone();
        let end = loop {
            if timer.deadline() != self.timers.next() {
                timer.as_mut().reset(self.timers.next());
            }
            let step = select! {
                due = outbox.due(self.timers.flush_by), if initial_state.is_none() => self.on_due(due).await,
                reason = outbox.closed(), if initial_state.is_some() => Break(Disconnect::ByGateway(reason)),
                opened = poll(&mut initial_state) => {
                    // Its memory is not needed any more.
                    initial_state = None;
                    self.phase.enter(Phase::Open);
                    Box::pin(self.open(opened)).await
                }
                message = self.socket.next() => self.on_message(message).await,
                () = &mut timer => self.on_time().await,
                () = &mut stopping, if self.timers.drain_at.is_none() => {
                    self.timers.schedule_drain(self.settings.drain_window);
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

    async fn finish(self: Box<Self>, end: Disconnect) {
        let Self { mut socket, registration, options, in_fragments, mut phase, .. } = *self;
        phase.enter(Phase::Closing);
        // From here on nothing is queued, and the place is free for another connection.
        drop(registration);
        match end {
            Disconnect::ByGateway(reason) => {
                let state = reason.reconnect_after().map(disconnected);
                let state = state.filter(|_| options.control_frames && !in_fragments);
                close(socket, reason, state).await;
            }
            // The answer to the client's own close.
            Disconnect::ByClient => drop(time::timeout(close::TIMEOUT, socket.flush()).await),
        }
    }

    async fn on_due(&mut self, due: Due) -> ControlFlow<Disconnect> {
        match due {
            Due::Now => self.drain().await,
            Due::At(time) => {
                self.timers.flush_by = Some(time);
                Continue(())
            }
            Due::Closed(reason) => Break(Disconnect::ByGateway(reason)),
        }
    }

    async fn on_time(&mut self) -> ControlFlow<Disconnect> {
        match self.timers.due() {
            Some(TimerEvent::Drain) => Break(Disconnect::ByGateway(CloseReason::Restarting)),
            Some(TimerEvent::TokenExpired) => {
                Break(Disconnect::ByGateway(CloseReason::TokenExpired))
            }
            Some(TimerEvent::KeepaliveTimeout) => {
                Break(Disconnect::ByGateway(CloseReason::KeepaliveTimeout))
            }
            Some(TimerEvent::Flush) => self.drain().await,
            Some(TimerEvent::Ping) => {
                let ping = self.socket.feed(Message::Ping(Vec::new().into()));
                match time::timeout(self.settings.keepalive_timeout, ping).await {
                    Ok(Ok(())) => self.send(Vec::new()).await,
                    Ok(Err(_)) => Break(Disconnect::ByClient),
                    Err(_) => Break(Disconnect::ByGateway(CloseReason::TooSlow)),
                }
            }
            None => Continue(()),
        }
    }

    /// Writes texts and everything the socket has queued, and flushes once. A client that lets a
    /// write wait for the keep-alive timeout is too slow; its pongs are not read meanwhile.
    async fn send(&mut self, texts: Vec<Utf8Bytes>) -> ControlFlow<Disconnect> {
        let count = texts.len() as u64;
        let outbox = self.registration.outbox().clone();
        let written = select! {
            biased;
            written = wire::write(&mut self.socket, texts, &mut self.in_fragments) => written,
            reason = outbox.closed() => return Break(Disconnect::ByGateway(reason)),
            () = time::sleep(self.settings.keepalive_timeout) => return Break(Disconnect::ByGateway(CloseReason::TooSlow)),
        };
        if let Err(error) = written {
            self.settings.metrics.messages_failed.of(Failure::WriteFailed).inc_by(count);
            return Break(wire::end_after(&error));
        }
        self.settings.metrics.messages_sent.inc_by(count);
        Continue(())
    }
}

/// Waits for the initial_state, if it has not come yet.
async fn poll(
    initial_state: &mut Option<Pin<Box<dyn Future<Output = InitialState> + Send>>>,
) -> InitialState {
    match initial_state {
        Some(initial_state) => initial_state.await,
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
