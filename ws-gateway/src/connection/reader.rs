//! Messages of the client: pings, new tokens, filters.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
};

use tokio_tungstenite::tungstenite::Message;

use super::{Channel, Connection, Renewal, timestamp};
use crate::{
    auth::{AuthError, Identity, TokenResult},
    metrics::ClientMessageType,
    protocol::{AUTHENTICATION_ERROR, ClientMessage, CloseReason, Disconnect, Filter, PONG, State},
};

impl<C: Channel> Connection<C> {
    pub(super) async fn on_message(
        &mut self,
        message: Result<Message, Disconnect>,
    ) -> ControlFlow<Disconnect> {
        let message = match message {
            Ok(message) => message,
            Err(end) => return Break(end),
        };
        self.timers.record_activity();
        self.registration.outbox().record_activity();
        match message {
            Message::Text(text) => self.on_text(&text).await,
            Message::Binary(_) => Break(Disconnect::ByGateway(CloseReason::Binary)),
            // Flushes the pong that the socket has buffered.
            Message::Ping(_) => self.send(Vec::new()).await,
            Message::Pong(_) | Message::Frame(_) => Continue(()),
            Message::Close(_) => Break(Disconnect::ByClient),
        }
    }

    async fn on_text(&mut self, text: &str) -> ControlFlow<Disconnect> {
        let count = |kind| self.settings.metrics.client_messages.of(kind).inc();
        let message = ClientMessage::parse(text);
        // A token may be as long as in a handshake; the socket accepts no more than that.
        let is_token = matches!(message, Some(ClientMessage::Auth { .. }));
        if text.len() > self.settings.max_message_size && !is_token {
            return Break(Disconnect::ByGateway(CloseReason::TooBig));
        }
        match message {
            Some(ClientMessage::Ping) => {
                count(ClientMessageType::Ping);
                self.send(vec![PONG]).await
            }
            Some(ClientMessage::Filter { categories }) => {
                count(ClientMessageType::Filter);
                self.options.filter = Filter::new(categories.iter().map(String::as_str));
                self.registration.outbox().note_filter(&self.options.filter);
                Continue(())
            }
            Some(ClientMessage::Auth { token }) => {
                count(ClientMessageType::Auth);
                if self.renewal.is_none() {
                    self.renewal = Some(self.renew(token.into_owned()));
                } else {
                    self.next_token = Some(token.into());
                }
                Continue(())
            }
            Some(ClientMessage::Read { up_to }) => {
                let Ok(up_to) = up_to.map(|position| position.parse()).transpose() else {
                    count(ClientMessageType::Ignored);
                    return Continue(());
                };
                count(ClientMessageType::Read);
                self.registration.request_read_state(up_to);
                Continue(())
            }
            None => {
                count(ClientMessageType::Ignored);
                Continue(())
            }
        }
    }

    /// Checks a new token concurrently: a slow issuer must not delay frames.
    fn renew(&self, token: String) -> Renewal {
        let (settings, user) = (Arc::clone(&self.settings), self.registration.user().clone());
        Box::pin(async move { settings.authenticator.renew(&user, &token).await })
    }

    /// Replaces the token, and begins to check the next one; returns what the client is sent. A
    /// refused token changes nothing: the old one stays valid until it expires.
    pub(super) fn replace_token(&mut self, renewed: Result<Identity, AuthError>) -> State {
        self.renewal = self.next_token.take().map(|token| self.renew(token.into()));
        self.settings.metrics.jwt_validations.of(TokenResult::from(&renewed)).inc();
        match renewed {
            Ok(identity) => {
                self.registration.set_credential(identity.credential.clone());
                if self.settings.authenticator.is_revoked(&identity) {
                    self.registration.outbox().close(CloseReason::Revoked);
                }
                self.timers.set_token_lifetime(identity.valid_for(), &self.settings);
                self.token_expires_at = identity.expires_at;
                State::Connected {
                    connection_id: self.registration.connection(),
                    token_expires_at: timestamp(self.token_expires_at),
                }
            }
            Err(error) => refused(error),
        }
    }

    pub(super) async fn send_state(&mut self, state: State) -> ControlFlow<Disconnect> {
        if !self.options.control_frames {
            return Continue(());
        }
        self.send(vec![state.to_text()]).await
    }
}

fn refused(error: AuthError) -> State {
    State::Error { error_code: AUTHENTICATION_ERROR, message: error.message() }
}
