//! What a client does with the frames that it receives.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{connection::Connection, read_marks::Known, state::Client, token::Validity};
use crate::{redis::store::Id, simulation::trace};

impl Connection<'_> {
    pub(super) fn on_notification(&mut self, frame: &Value) {
        let Client { sim, number, .. } = self.client;
        if !self.may_be_late() && self.validity.is_some_and(|validity| validity.must_have_expired())
        {
            sim.violate(format!("client {number} received a frame after its token had expired"));
        }
        if let Some(id) = frame["id"].as_str() {
            trace!(sim, "client {number} receives {id}");
            self.client.with(|state| state.position = Some(id.to_owned()));
            let position = id.parse().unwrap_or_default();
            sim.oracle.received(*number, position, frame);
            let event = frame["event_id"].as_str().unwrap_or_default();
            self.client.with(|state| state.marks.count(position, event));
        }
    }

    pub(super) fn on_state(&mut self, data: &Value) {
        let Client { sim, number, .. } = self.client;
        let position = data["last_event_id"].as_str().unwrap_or_default();
        match data["state"].as_str() {
            Some("authenticated") => self.on_authenticated(data, position),
            Some("position") => {
                trace!(sim, "client {number} is at {position}");
                sim.reach("a client was sent the position of filtered frames");
                sim.oracle.position_reported(*number, position.parse().unwrap_or_default());
                self.client.with(|state| state.position = Some(position.to_owned()));
            }
            Some("connected") => {
                if let Some((token, sent_at)) = self.renewal.take() {
                    sim.reach("a token was renewed");
                    self.validity = Some(Validity::new(sim.plan.token_lifetime, sent_at));
                    let former =
                        self.client.with(|state| std::mem::replace(&mut state.token, token));
                    self.replaced = Some((former.id, Instant::now()));
                }
            }
            Some("error") => self.on_refused_token(),
            Some("disconnected") => {
                let delay = data["reconnect_after_ms"].as_u64();
                self.reconnect_delay = delay.map(Duration::from_millis);
            }
            _ => {}
        }
    }

    fn on_authenticated(&mut self, data: &Value, position: &str) {
        let Client { sim, number, user, .. } = self.client;
        let (resume, oracle) = (&data["resume"], &sim.oracle);
        trace!(sim, "client {number} of {user}: resume {resume} at {position}");
        let is_first = self.validity.is_none();
        if is_first {
            self.validity = Some(Validity::new(sim.plan.token_lifetime, self.began));
            self.apply_filter();
        }
        let position_id: Id = position.parse().unwrap_or_default();
        let takes_position = resume == "none" || position.starts_with("0-");
        self.client.with(|state| {
            state.is_authenticated = true;
            if takes_position {
                state.position = Some(position.to_owned());
            }
        });
        self.on_opened(data, is_first);
        match resume.as_str() {
            Some("none") => oracle.started_at(*number, position_id),
            Some("incomplete") => {
                sim.reach("a client was notified of a gap");
                if !sim.plan.may_lose_history() {
                    sim.violate(format!("client {number} is notified of a gap without a loss"));
                }
                oracle.gap_reported(*number);
            }
            _ => sim.reach("a client resumed completely"),
        }
    }

    /// Takes the read state of the first frame; a later frame reports a gap and has none.
    fn on_opened(&mut self, data: &Value, is_first: bool) {
        let state = Known {
            up_to: position(&data["read_up_to"]),
            unread: number(&data["unread"]),
            newest: position(&data["counted_to"]),
        };
        let (has_state, is_unfiltered) =
            (is_first && data["unread"].is_u64(), self.is_unfiltered());
        self.client.with(|client| {
            if has_state {
                client.marks.open(state, is_unfiltered);
            } else {
                client.marks.ask_after(data["resume"] == "incomplete");
            }
        });
    }

    pub(super) fn on_read_state(&mut self, data: &Value) {
        let Client { sim, number: client, .. } = self.client;
        trace!(sim, "client {client} receives the read state {data}");
        sim.reach("a device was sent a read state");
        let state = Known {
            up_to: position(&data["up_to"]),
            unread: number(&data["unread"]),
            newest: position(&data["last_event_id"]),
        };
        let is_unfiltered = self.is_unfiltered();
        if !self.client.with(|client| client.marks.apply(state, is_unfiltered)) {
            sim.reach("a device asked about an older read state");
        }
    }

    /// Returns a message that marks everything, or a part, as read.
    pub(super) fn read_message(&self) -> String {
        let Client { sim, number, .. } = self.client;
        let mut up_to = self.client.with(|client| client.marks.newest());
        if sim.chance(40) {
            up_to = Id(up_to.0.saturating_sub(sim.number(0..20_000)), 0);
        }
        trace!(sim, "client {number} marks {up_to} as read");
        json!({"type": "read", "up_to": up_to.to_string()}).to_string()
    }
}

fn position(value: &Value) -> Id {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX)
}
