//! Closes connections whose tokens are revoked.

use shared::user::UserId;
use uuid::Uuid;

use super::{Hub, State};
use crate::{
    auth::{Credential, revocation::Revoked},
    protocol::CloseReason,
};

impl Hub {
    /// Closes the connections with a revoked token. Looks only at those of the users that `target`
    /// concerns.
    pub(crate) fn close_revoked(
        &self,
        target: &Revoked,
        is_revoked: impl Fn(&UserId, &Credential) -> bool,
    ) {
        let state = self.state();
        let close = |user: &UserId| {
            let entry = state.users.get(user);
            let connections = entry.into_iter().flat_map(|entry| &entry.connections);
            let revoked = connections.filter(|c| is_revoked(user, &c.credential));
            revoked.for_each(|connection| connection.outbox.close(CloseReason::Revoked));
        };
        match target {
            Revoked::User(user, _) => close(user),
            Revoked::Token(id) => state.tokens.users(id).for_each(close),
        }
    }

    pub(super) fn set_credential(&self, user: &UserId, connection: Uuid, credential: Credential) {
        let mut state = self.state();
        let State { users, tokens, .. } = &mut *state;
        let Some(entry) = users.get_mut(user) else { return };
        // A connection that was replaced at the limit may still check a token: no end of it would
        // remove the token from the index.
        let new = credential.clone();
        let Some(replaced) = entry.set_credential(connection, credential) else { return };
        tokens.insert(user, &new);
        tokens.remove(user, &replaced, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use prometheus::Registry;

    use super::*;
    use crate::{
        hub::{
            LimitPolicy, Limits,
            outbox::{Item, Pushed},
            registration::Registration,
        },
        metrics::Metrics,
    };

    #[test]
    fn revoking_one_token_visits_only_the_connections_of_its_user() {
        let hub = Hub::new(Limits::SMALL, Metrics::new(&Registry::new()));
        let token = |id: &str| Credential { token_id: Some(id.into()), ..Credential::default() };
        let connect = |number: u32| {
            let user = UserId::new(&format!("user-{number}")).unwrap();
            let registration = hub.register(&user, Uuid::new_v4()).unwrap();
            registration.set_credential(token(&format!("token-{number}")));
            registration
        };
        let mut registrations: Vec<_> = (0..100).map(connect).collect();
        let looked_at = Cell::new(0);
        let close = |id: &str| {
            looked_at.set(0);
            hub.close_revoked(&Revoked::Token(id.into()), |_, credential| {
                looked_at.set(looked_at.get() + 1);
                *credential == token(id)
            });
            looked_at.get()
        };
        assert_eq!(close("token-7"), 1);
        let closed =
            |registration: &Registration| registration.outbox().push(Item::Gap) == Pushed::Refused;
        assert_eq!(registrations.iter().filter(|registration| closed(registration)).count(), 1);
        // A renewed token replaces the old one in the index, and the end of a connection removes
        // it.
        registrations[8].set_credential(token("renewed"));
        assert_eq!((close("token-8"), close("renewed")), (0, 1));
        registrations.clear();
        assert_eq!((close("token-9"), hub.state().tokens.len()), (0, 0));
    }

    #[test]
    fn a_new_token_of_a_connection_that_was_replaced_at_the_limit_is_not_kept() {
        let limits = Limits { policy: LimitPolicy::EvictOldest, ..Limits::SMALL };
        let hub = Hub::new(limits, Metrics::new(&Registry::new()));
        let user = UserId::new("u").unwrap();
        let connect = |_| hub.register(&user, Uuid::new_v4()).unwrap();
        let connections: Vec<Registration> = (0..3).map(connect).collect();
        for (connection, id) in connections.iter().zip(["replaced", "a", "b"]) {
            let token_id = Some(id.into());
            connection.set_credential(Credential { token_id, ..Credential::default() });
        }
        assert_eq!(hub.state().tokens.len(), 2);
        drop(connections);
        assert_eq!(hub.state().tokens.len(), 0);
    }
}
