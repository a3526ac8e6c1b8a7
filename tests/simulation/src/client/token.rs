//! The tokens of clients, with a lifetime that the seed decides.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    gateway::SECRET,
    simulation::{START_MS, Sim},
};

/// A token of a user. The gateway's wall clock stands still, so a token is valid for its lifetime
/// from each time that it is presented.
#[derive(Clone)]
pub(super) struct Token {
    /// The `jti`.
    pub(super) id: String,
    pub(super) text: String,
}

impl Token {
    pub(super) fn issue(sim: &Sim, user: &str) -> Self {
        let id = format!("token-{}", sim.number(1..u64::MAX));
        let expires_at = START_MS / 1000 + sim.plan.token_lifetime.as_secs();
        let claims = json!({"sub": user, "exp": expires_at, "jti": id});
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let text = encode(&Header::default(), &claims, &key).expect("the claims serialise");
        Self { id, text }
    }
}

/// When the token of a connection has to be renewed, and how long it may be used.
#[derive(Clone, Copy)]
pub(super) struct Validity {
    lifetime: Duration,
    /// When the token was sent: it is valid for its lifetime from then on at least.
    pub(super) sent_at: Instant,
    /// When the gateway had accepted it: it is valid for its lifetime from then on at most.
    accepted_at: Instant,
}

impl Validity {
    pub(super) fn new(lifetime: Duration, sent_at: Instant) -> Self {
        Self { lifetime, sent_at, accepted_at: Instant::now() }
    }

    /// When a client renews its token, long before it expires.
    pub(super) fn renewal(&self) -> Instant {
        self.accepted_at + self.lifetime / 2
    }

    /// Whether a gateway must have closed the connection, but for the latency of the network.
    pub(super) fn must_have_expired(&self) -> bool {
        Instant::now() > self.accepted_at + self.lifetime + Duration::from_secs(1)
    }
}
