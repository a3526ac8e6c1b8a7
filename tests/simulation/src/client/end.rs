//! Why a connection may end, and a token be refused.

use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, error::ProtocolError, protocol::CloseFrame};

use super::{connection::Connection, state::Client, token::Token};
use crate::{
    plan::{Fault, SLOW_CLIENTS},
    simulation::trace,
};

/// The longest time from the end of a connection at the gateway to its end at the client.
const LATENCY: Duration = Duration::from_secs(1);

impl Connection<'_> {
    /// The network may fail; the bytes that arrive are correct, and a gateway says why it closes a
    /// connection.
    pub(super) fn check_end(&self, error: Option<Error>) {
        let Client { sim, number, .. } = self.client;
        match error {
            None
            | Some(
                Error::Io(_)
                | Error::ConnectionClosed
                | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            ) => {
                if !self.is_closed && !self.link.was_cut() && !self.may_be_late() {
                    sim.violate(format!("client {number} is disconnected without a close code"));
                }
            }
            Some(error) => {
                sim.violate(format!("client {number} cannot read what it received: {error}"));
            }
        }
    }

    /// Returns when the client has presented its token: it is valid for its lifetime at least.
    fn presented_at(&self) -> Instant {
        self.validity.map_or(self.began, |validity| validity.sent_at)
    }

    /// Only a token that is revoked may be refused: it is never presented late.
    pub(super) fn on_refused_token(&mut self) {
        let Client { sim, number, .. } = self.client;
        if let Some((token, _)) = self.renewal.take()
            && !sim.oracle.was_revoked(&token.id)
        {
            sim.violate(format!("client {number} renewed its token, which was refused"));
        }
    }

    pub(super) fn on_close(&mut self, frame: &CloseFrame) {
        let Client { sim, number, user, .. } = self.client;
        trace!(sim, "client {number} is closed: {frame:?}");
        self.is_closed = true;
        match u16::from(frame.code) {
            1013 if sim.plan.may_close_slow() => sim.reach("a slow client was closed"),
            1012 if sim.plan.enables_any(&[Fault::GatewayRestart]) => {}
            4000 if sim.plan.enables_any(SLOW_CLIENTS) => {}
            1008 => {
                let present = self.client.token_id();
                let renewed = self.renewal.take().map(|(token, _)| token.id);
                // Its revocation may have closed the connection just before.
                let replaced = self.replaced.take().filter(|(_, at)| at.elapsed() < LATENCY);
                let is_revoked = [Some(present), renewed, replaced.map(|(token, _)| token)]
                    .iter()
                    .flatten()
                    .any(|token| sim.oracle.was_revoked(token));
                if is_revoked {
                    sim.reach("a revoked token closed a connection");
                } else if self.presented_at().elapsed() >= sim.plan.token_lifetime {
                    sim.reach("an expired token closed a connection");
                } else {
                    sim.violate(format!("client {number} has a valid token: {frame:?}"));
                }
                let token = Token::issue(sim, user);
                self.client.with(|state| state.token = token);
            }
            _ => sim.violate(format!("client {number} is closed without a reason: {frame:?}")),
        }
    }
}
