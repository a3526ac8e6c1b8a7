//! A client as the browser package behaves: it reconnects with back-off, resumes from its last
//! position, pings, renews its token, and may set a filter.

mod connection;
mod end;
mod read_marks;
mod receive;
mod state;
mod token;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use shared::backoff::{Backoff, Jitter};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    gateway::Gateway,
    network::{End, Link},
    oracle::Filter,
    simulation::{Sim, trace},
};
use connection::{Connection, Opening};
pub(crate) use read_marks::Badge;
use read_marks::ReadMarks;
pub(crate) use state::Client;
use state::{CONNECT_TIMEOUT, State};
use token::Token;

const RECONNECT: Backoff =
    Backoff::new(Duration::from_millis(500), Duration::from_secs(20)).with_jitter(Jitter::Full);

impl Client {
    pub(crate) fn start(number: usize, user: String, sim: &Sim, gateways: &[Gateway]) -> Self {
        sim.oracle.client(number, &user);
        let state = State {
            token: Token::issue(sim, &user),
            filter: Filter::default(),
            position: None,
            link: None,
            marks: ReadMarks::default(),
            is_authenticated: false,
            reads_from: None,
            flaps_until: None,
        };
        let (sim, gateways, state) = (sim.clone(), gateways.to_vec(), Arc::new(Mutex::new(state)));
        let (filter_changed, read_requested) = Default::default();
        let client = Self { number, user, sim, gateways, state, filter_changed, read_requested };
        tokio::spawn(client.clone().run());
        client
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.with(|state| state.is_authenticated)
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// Returns what the device shows as unread; none until it knows the read state.
    pub(crate) fn badge(&self) -> Option<Badge> {
        self.with(|state| state.marks.badge())
    }

    /// Has the device mark notifications as read.
    pub(crate) fn mark_read(&self) {
        self.read_requested.notify_one();
    }

    /// Sets another filter: of the present connection, and of later ones.
    pub(crate) fn change_filter(&self) {
        let filter = Filter::ALL[self.sim.index(Filter::ALL.len())];
        trace!(self.sim, "client {} sets the filter {filter:?}", self.number);
        self.sim.oracle.filter_requested(self.number, filter);
        self.with(|state| {
            state.filter = filter;
            state.marks.filter_changed();
        });
        self.filter_changed.notify_one();
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
                    after = self.use_connection(end, link) => requested = after,
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
    async fn use_connection(&self, end: End, link: Link) -> Option<Duration> {
        let opening = Opening { began: Instant::now(), filter: self.with(|state| state.filter) };
        let socket = timeout(CONNECT_TIMEOUT, self.open(end, opening.filter)).await.ok()??;
        Connection::new(self, socket, link, opening).run().await
    }

    async fn open(&self, end: End, filter: Filter) -> Option<WebSocketStream<End>> {
        let (position, token) =
            self.with(|state| (state.position.clone(), state.token.text.clone()));
        let position = position.map_or(String::new(), |id| format!("last_event_id={id}"));
        let query = format!("categories={}&{position}", filter.categories().join(","));
        let mut request = format!("ws://gateway/ws?{query}").into_client_request().ok()?;
        let protocols = format!("huleedu.v1, huleedu.token.{token}");
        let protocols = HeaderValue::try_from(protocols).ok()?;
        request.headers_mut().insert("sec-websocket-protocol", protocols);
        Some(client_async(request, end).await.ok()?.0)
    }
}
