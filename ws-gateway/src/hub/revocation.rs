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
        tokens.insert(user, &credential);
        if let Some(replaced) = entry.set_credential(connection, credential) {
            tokens.remove(user, &replaced, entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use prometheus::Registry;

    use super::*;
    use crate::{
        hub::{
            Limits,
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
}
