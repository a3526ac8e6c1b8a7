//! One connection of a client: what it sends, and what it checks of what it receives.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use ws_gateway::protocol::{READ_STATE_EVENT, STATE_EVENT};

use super::{
    state::{CONNECT_TIMEOUT, Client},
    token::{Token, Validity},
};
use crate::{
    network::{End, Link},
    oracle::Filter,
    simulation::Sim,
};

const PING_INTERVAL: Duration = Duration::from_secs(30);
const PONG_TIMEOUT: Duration = Duration::from_secs(5);

/// The size of a WebSocket ping, which its pong repeats: the largest that the protocol allows.
const MAX_PING: usize = 125;

pub(super) struct Connection<'a> {
    pub(super) client: &'a Client,
    socket: WebSocketStream<End>,
    pub(super) link: Link,
    /// When the handshake began.
    pub(super) began: Instant,
    pub(super) validity: Option<Validity>,
    /// A new token that the gateway has not answered, and when it was sent.
    pub(super) renewal: Option<(Token, Instant)>,
    /// The id of the token that the last renewal has replaced, and when.
    pub(super) replaced: Option<(String, Instant)>,
    /// When a ping is sent, or the connection given up if a ping is not answered.
    deadline: Instant,
    is_pinged: bool,
    pings: usize,
    pongs: usize,
    /// The newest filter that was sent, and the number of the ping that followed it.
    filter: Filter,
    filter_ping: usize,
    /// Whether frames may arrive late, as the client did not read for a while.
    pub(super) has_paused: bool,
    /// When the next WebSocket ping is sent.
    next_ping: Instant,
    /// When the client marks notifications as read next.
    next_read: Instant,
    /// Whether the gateway has said why it closes the connection.
    pub(super) is_closed: bool,
    /// The delay before reconnecting that the gateway asks for.
    pub(super) reconnect_delay: Option<Duration>,
}

/// What a handshake has stated.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    /// When it began.
    pub(super) began: Instant,
    pub(super) filter: Filter,
}

enum Wakeup {
    Message(Message),
    Deadline,
    FilterChanged,
    RenewToken,
    Ping,
    Read,
    AskReadState,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        client: &'a Client,
        socket: WebSocketStream<End>,
        link: Link,
        opening: Opening,
    ) -> Self {
        let Opening { began, filter } = opening;
        Self {
            client,
            socket,
            link,
            began,
            validity: None,
            renewal: None,
            replaced: None,
            // The gateway pings or sends frames; the first one confirms the connection.
            deadline: Instant::now() + CONNECT_TIMEOUT,
            is_pinged: true,
            pings: 0,
            pongs: 0,
            filter,
            filter_ping: 0,
            has_paused: false,
            next_ping: after(&client.sim, client.sim.plan.client_ping_ms),
            next_read: next_read(&client.sim),
            is_closed: false,
            reconnect_delay: None,
        }
    }

    /// Runs until the connection ends; returns the delay that the gateway asks for.
    pub(super) async fn run(mut self) -> Option<Duration> {
        while let Some(wakeup) = self.wakeup().await {
            let sent = match wakeup {
                Wakeup::Message(message) => {
                    self.on_message(message);
                    true
                }
                Wakeup::Deadline if self.is_pinged => {
                    self.client.sim.reach("a client gave up a silent connection");
                    break;
                }
                Wakeup::Deadline => {
                    (self.is_pinged, self.deadline) = (true, Instant::now() + PONG_TIMEOUT);
                    self.ping().await
                }
                Wakeup::FilterChanged => self.send_filter().await,
                Wakeup::RenewToken => self.send_token().await,
                Wakeup::Read => {
                    self.next_read = next_read(&self.client.sim);
                    self.send(self.read_message()).await
                }
                Wakeup::AskReadState => self.send(r#"{"type":"read"}"#.to_owned()).await,
                Wakeup::Ping => {
                    self.next_ping = after(&self.client.sim, self.client.sim.plan.client_ping_ms);
                    self.send_message(Message::Ping(vec![0; MAX_PING].into())).await
                }
            };
            if !sent {
                break;
            }
        }
        self.reconnect_delay
    }

    /// Waits for the next thing to do; none when the connection has ended.
    async fn wakeup(&mut self) -> Option<Wakeup> {
        if let Some(from) = self.client.with(|state| state.reads_from.take()) {
            self.has_paused = true;
            sleep_until(from).await;
            (self.deadline, self.is_pinged) = (Instant::now() + PING_INTERVAL, false);
        }
        if self.client.with(|state| state.marks.take_request()) {
            return Some(Wakeup::AskReadState);
        }
        let renews = self.client.sim.plan.renews_tokens && self.renewal.is_none();
        let renewal = self.validity.filter(|_| renews).map(|validity| validity.renewal());
        let renewal = renewal.unwrap_or_else(|| Instant::now() + Duration::from_hours(24));
        let is_open = self.validity.is_some();
        tokio::select! {
            message = self.socket.next() => match message {
                Some(Ok(message)) => Some(Wakeup::Message(message)),
                end => {
                    self.check_end(end.and_then(Result::err));
                    None
                }
            },
            () = sleep_until(self.next_ping), if is_open => Some(Wakeup::Ping),
            () = sleep_until(self.next_read), if is_open => Some(Wakeup::Read),
            () = self.client.read_requested.notified(), if is_open => Some(Wakeup::Read),
            () = sleep_until(self.deadline) => Some(Wakeup::Deadline),
            () = self.client.filter_changed.notified(), if is_open => Some(Wakeup::FilterChanged),
            () = sleep_until(renewal) => Some(Wakeup::RenewToken),
        }
    }

    /// Returns whether the connection takes the text.
    async fn send(&mut self, text: String) -> bool {
        self.send_message(Message::text(text)).await
    }

    /// Returns whether the connection takes the message in time: this client does not read
    /// meanwhile, and a gateway that cannot write does not read either.
    async fn send_message(&mut self, message: Message) -> bool {
        let sent = timeout(PONG_TIMEOUT, self.socket.send(message)).await;
        sent.is_ok_and(|sent| sent.is_ok())
    }

    async fn ping(&mut self) -> bool {
        self.pings += 1;
        self.send(r#"{"type":"ping"}"#.to_owned()).await
    }

    /// Sends the filter, and a ping whose answer shows that the gateway has taken it.
    async fn send_filter(&mut self) -> bool {
        self.filter = self.client.with(|state| state.filter);
        let text = json!({"type": "filter", "categories": self.filter.categories()}).to_string();
        self.filter_ping = self.pings + 1;
        self.send(text).await && self.ping().await
    }

    async fn send_token(&mut self) -> bool {
        let Client { sim, user, .. } = self.client;
        let token = Token::issue(sim, user);
        let text = json!({"type": "auth", "token": token.text}).to_string();
        self.renewal = Some((token, Instant::now()));
        self.send(text).await
    }

    fn on_message(&mut self, message: Message) {
        (self.deadline, self.is_pinged) = (Instant::now() + PING_INTERVAL, false);
        match message {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                if frame["type"] == "pong" {
                    self.on_pong();
                } else if frame["event"] == STATE_EVENT {
                    self.on_state(&frame["data"]);
                } else if frame["event"] == READ_STATE_EVENT {
                    self.on_read_state(&frame["data"]);
                } else {
                    self.on_notification(&frame);
                }
            }
            Message::Close(Some(frame)) => self.on_close(&frame),
            _ => {}
        }
    }

    fn on_pong(&mut self) {
        self.pongs += 1;
        if self.pongs == self.filter_ping {
            self.client.sim.reach("a filter was changed on an open connection");
            self.apply_filter();
        }
    }

    /// Notes that the gateway applies the filter, unless the client wants another one meanwhile.
    pub(super) fn apply_filter(&self) {
        let Client { sim, number, .. } = self.client;
        if self.filter == self.client.with(|state| state.filter) {
            sim.oracle.filter_applied(*number, self.filter);
        }
    }

    /// Whether the gateway holds back no notification.
    pub(super) fn is_unfiltered(&self) -> bool {
        let is_applied = self.pongs >= self.filter_ping;
        let wanted = self.client.with(|client| client.filter);
        is_applied && [wanted, self.filter] == [Filter::default(); 2]
    }

    /// Whether frames may arrive late.
    pub(super) fn may_be_late(&self) -> bool {
        self.has_paused || self.link.was_stalled()
    }
}

/// Clients mark nothing as read after the last fault: a later read would make up for a lost one.
fn next_read(sim: &Sim) -> Instant {
    let reads = sim.recorder.elapsed() < sim.plan.duration;
    after(sim, sim.plan.client_read_ms.filter(|_| reads))
}

/// Returns a time after a pause of `mean_ms` on average.
fn after(sim: &Sim, mean_ms: Option<u64>) -> Instant {
    let pause = mean_ms.map(|mean| sim.millis(0..2 * mean));
    Instant::now() + pause.unwrap_or(Duration::from_hours(24))
}
