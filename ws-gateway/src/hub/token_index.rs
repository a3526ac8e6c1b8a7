//! Finds the users that have a connection with a token, by the token's id (`jti`), so that revoking
//! one token does not visit every connection.

use std::{collections::BTreeSet, sync::Arc};

use shared::user::UserId;

use super::user::User;
use crate::auth::Credential;

/// The ids of the tokens of all connections, each with its user. The user is never `None`, which
/// only marks the start of a range.
#[derive(Debug, Default)]
pub(super) struct TokenIndex(BTreeSet<(Arc<str>, Option<UserId>)>);

impl TokenIndex {
    #[cfg(test)]
    pub(super) const SIZE_OF_ENTRY: usize = size_of::<(Arc<str>, Option<UserId>)>();

    pub(super) fn insert(&mut self, user: &UserId, credential: &Credential) {
        if let Some(id) = &credential.token_id {
            self.0.insert((Arc::clone(id), Some(user.clone())));
        }
    }

    /// Removes a token unless a connection of `entry` still has it.
    pub(super) fn remove(&mut self, user: &UserId, credential: &Credential, entry: &User) {
        let Some(id) = &credential.token_id else { return };
        let mut others = entry.connections.iter().map(|connection| &connection.credential);
        if !others.any(|other| other.token_id.as_ref() == Some(id)) {
            self.0.remove(&(Arc::clone(id), Some(user.clone())));
        }
    }

    /// Returns the users of a token: one, unless an issuer has used an id twice.
    pub(super) fn users<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a UserId> {
        let tokens = self.0.range((Arc::from(id), None)..);
        tokens.take_while(move |(token, _)| **token == *id).filter_map(|(_, user)| user.as_ref())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
