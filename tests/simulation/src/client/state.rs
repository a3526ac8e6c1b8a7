//! What a client and its connections share.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{read_marks::ReadMarks, token::Token};
use crate::{gateway::Gateway, network::Link, oracle::Filter, simulation::Sim};

/// Covers connecting and authentication.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A client. Clones share it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(super) number: usize,
    pub(super) user: String,
    pub(super) sim: Sim,
    pub(super) gateways: Vec<Gateway>,
    pub(super) state: Arc<Mutex<State>>,
    /// Notified when the filter changes.
    pub(super) filter_changed: Arc<Notify>,
    /// Notified to mark notifications as read.
    pub(super) read_requested: Arc<Notify>,
}

pub(super) struct State {
    pub(super) token: Token,
    pub(super) filter: Filter,
    /// Where the client resumes from; storage keeps it when the page is loaded again.
    pub(super) position: Option<String>,
    pub(super) link: Option<Link>,
    pub(super) marks: ReadMarks,
    pub(super) is_authenticated: bool,
    /// The client does not read before this time.
    pub(super) reads_from: Option<Instant>,
    /// The client leaves within milliseconds after it has connected, before this time.
    pub(super) flaps_until: Option<Instant>,
}

impl Client {
    /// Returns the id of its token.
    pub(crate) fn token_id(&self) -> String {
        self.with(|state| state.token.id.clone())
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("no code panics while it holds this lock"))
    }
}
