//! A client as the browser package behaves: it reconnects with back-off, resumes from its last
//! position, and pings.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use shared::backoff::{Backoff, Jitter};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    gateway::{Gateway, SECRET},
    network::{End, Link},
    redis::store::Id,
    simulation::{Sim, trace},
};

/// Covers connecting and authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PONG_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT: Backoff =
    Backoff::new(Duration::from_millis(500), Duration::from_secs(20)).with_jitter(Jitter::Full);

/// A client. Clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    number: usize,
    user: String,
    token: String,
    sim: Sim,
    gateways: Vec<Gateway>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Where the client resumes from; storage keeps it when the page is loaded again.
    position: Option<String>,
    link: Option<Link>,
    is_authenticated: bool,
    /// The client does not read before this time.
    reads_from: Option<Instant>,
    /// The client leaves within milliseconds after it has connected, before this time.
    flaps_until: Option<Instant>,
}

impl Client {
    pub(crate) fn start(number: usize, user: String, sim: &Sim, gateways: &[Gateway]) -> Self {
        sim.oracle.client(number, &user);
        let claims = json!({"sub": user, "exp": 4_000_000_000_u64});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(&Header::default(), &claims, &key).expect("the claims serialise");
        let (sim, gateways) = (sim.clone(), gateways.to_vec());
        let client = Self { number, user, token, sim, gateways, state: Arc::default() };
        tokio::spawn(client.clone().run());
        client
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.with(|state| state.is_authenticated)
    }

    /// Cuts its connection.
    pub(crate) fn lose_connection(&self) {
        if let Some(link) = self.with(|state| state.link.clone()) {
            trace!(self.sim, "client {} loses its connection", self.number);
            link.cut(self.sim.chance(50));
        }
    }

    /// Delays everything on its connection for a while.
    pub(crate) fn silence(&self, duration: Duration) {
        if let Some(link) = self.with(|state| state.link.clone()) {
            trace!(self.sim, "client {} is silent for {duration:?}", self.number);
            link.stall(Instant::now() + duration);
        }
    }

    /// Stops reading for a while.
    pub(crate) fn stop_reading(&self, duration: Duration) {
        trace!(self.sim, "client {} does not read for {duration:?}", self.number);
        self.with(|state| state.reads_from = Some(Instant::now() + duration));
    }

    /// Connects and leaves within milliseconds for a while.
    pub(crate) fn flap(&self, duration: Duration) {
        trace!(self.sim, "client {} flaps for {duration:?}", self.number);
        self.with(|state| state.flaps_until = Some(Instant::now() + duration));
        self.lose_connection();
    }

    async fn run(self) {
        let mut backoff = RECONNECT;
        loop {
            let gateway = &self.gateways[self.sim.index(self.gateways.len())];
            let mut requested = None;
            if let Some((end, link)) = gateway.connect() {
                self.with(|state| state.link = Some(link.clone()));
                self.sim.oracle.connected(self.number);
                let begun = Instant::now();
                let leave_after = self.flap_delay();
                let stay = sleep_until(begun + leave_after.unwrap_or(Duration::from_hours(24)));
                tokio::select! {
                    after = self.converse(end) => requested = after,
                    () = stay => self.sim.reach("a client left within milliseconds"),
                }
                self.with(|state| (state.is_authenticated, state.link) = (false, None));
                trace!(self.sim, "client {} is disconnected", self.number);
                if begun.elapsed() > Duration::from_secs(1) || leave_after.is_some() {
                    backoff.reset();
                }
            }
            let delay = requested.unwrap_or_else(|| backoff.next_delay());
            let is_flapping = self.flap_delay().is_some();
            sleep(if is_flapping { self.sim.millis(0..5) } else { delay }).await;
        }
    }

    fn flap_delay(&self) -> Option<Duration> {
        let until = self.with(|state| state.flaps_until)?;
        (until > Instant::now()).then(|| self.sim.millis(0..15))
    }

    /// Uses a connection until it ends; returns the delay that the gateway asks for.
    async fn converse(&self, end: End) -> Option<Duration> {
        let socket = timeout(CONNECT_TIMEOUT, self.open(end)).await.ok()??;
        let mut requested = None;
        self.read(socket, &mut requested).await;
        requested
    }

    async fn open(&self, end: End) -> Option<WebSocketStream<End>> {
        let position = self.with(|state| state.position.clone());
        let query = position.map_or(String::new(), |position| format!("?last_event_id={position}"));
        let mut request = format!("ws://gateway/ws{query}").into_client_request().ok()?;
        let protocols = format!("huleedu.v1, huleedu.token.{}", self.token);
        let protocols = HeaderValue::try_from(protocols).ok()?;
        request.headers_mut().insert("sec-websocket-protocol", protocols);
        Some(client_async(request, end).await.ok()?.0)
    }

    async fn read(&self, mut socket: WebSocketStream<End>, requested: &mut Option<Duration>) {
        let mut silent_after = Instant::now() + CONNECT_TIMEOUT;
        let (mut ping_at, mut is_pinged) = (silent_after, true);
        loop {
            if let Some(from) = self.with(|state| state.reads_from.take()) {
                sleep_until(from).await;
                (ping_at, is_pinged) = (Instant::now() + PING_INTERVAL, false);
            }
            let deadline = if is_pinged { silent_after } else { ping_at };
            let message = tokio::select! {
                message = socket.next() => message,
                () = sleep_until(deadline) => {
                    if is_pinged {
                        return self.sim.reach("a client gave up a silent connection");
                    }
                    (is_pinged, silent_after) = (true, Instant::now() + PONG_TIMEOUT);
                    let ping = Message::text(r#"{"type":"ping"}"#);
                    if socket.send(ping).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Some(Ok(message)) = message else { return };
            (ping_at, is_pinged) = (Instant::now() + PING_INTERVAL, false);
            match message {
                Message::Text(text) => {
                    if let Some(delay) = self.on_text(&text) {
                        *requested = Some(delay);
                    }
                }
                Message::Close(frame) => {
                    trace!(self.sim, "client {} is closed: {frame:?}", self.number);
                    if frame.is_some_and(|frame| u16::from(frame.code) == 1013) {
                        self.sim.reach("a slow client was closed");
                    }
                }
                _ => {}
            }
        }
    }

    /// Handles a text; returns the delay before reconnecting if the gateway names one.
    fn on_text(&self, text: &str) -> Option<Duration> {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        if frame["event"] != "connection_state" {
            if let Some(id) = frame["id"].as_str() {
                trace!(self.sim, "client {} receives {id}", self.number);
                self.with(|state| state.position = Some(id.to_owned()));
                let (id, user) = (id.parse().unwrap_or_default(), frame["user_id"].as_str());
                self.sim.oracle.received(&self.sim, self.number, id, user);
            }
            return None;
        }
        let data = &frame["data"];
        match data["state"].as_str() {
            Some("authenticated") => self.on_authenticated(data),
            Some("disconnected") => {
                return data["reconnect_after_ms"].as_u64().map(Duration::from_millis);
            }
            _ => {}
        }
        None
    }

    fn on_authenticated(&self, data: &Value) {
        let (resume, position) = (&data["resume"], data["last_event_id"].as_str().unwrap_or(""));
        trace!(self.sim, "client {} of {}: resume {resume} at {position}", self.number, self.user);
        let position_id: Id = position.parse().unwrap_or_default();
        let takes_position = resume == "none" || position.starts_with("0-");
        self.with(|state| {
            state.is_authenticated = true;
            if takes_position {
                state.position = Some(position.to_owned());
            }
        });
        let (sim, oracle) = (&self.sim, &self.sim.oracle);
        match resume.as_str() {
            Some("none") => oracle.started_at(self.number, position_id),
            Some("incomplete") => {
                sim.reach("a client was notified of a gap");
                oracle.gap_reported(self.number);
            }
            _ => sim.reach("a client resumed completely"),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("no code panics while it holds this lock"))
    }
}
