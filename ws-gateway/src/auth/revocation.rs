//! Tokens that are refused although they have not expired: all tokens of a user that were issued
//! up to an instant, or the token with an id. The list is in memory, so that a handshake costs no
//! round trip: the subscriber loads it after each (re)subscription, before any user is served, and
//! adds what is published. While Redis is unavailable, the last known list counts.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use shared::user::UserId;

use super::claims::{Credential, MAX_TOKEN_ID, unix_seconds};

/// Which tokens are revoked, and until when the revocation has to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    /// Which tokens are revoked.
    pub(crate) target: Revoked,
    /// When every revoked token has expired, in Unix seconds.
    pub(crate) until: u64,
    /// Which operator revoked them, for the gateways' logs.
    pub(crate) by: Option<Box<str>>,
}

/// Which tokens are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// All tokens of a user with an `iat` up to this Unix second, and those without `iat`.
    User(UserId, u64),
    /// The token with this id (`jti`).
    Token(Box<str>),
}

/// A revocation as it is stored and published.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Without it, all tokens of the user are revoked, whenever they are issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    until: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<Box<str>>,
}

impl Revocation {
    /// Reads a revocation; `None` if the text is not one.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Text { user, at, jti, until, by } = serde_json::from_str(text).ok()?;
        let target = match (user, jti) {
            (Some(user), None) => Revoked::User(UserId::new(&user).ok()?, at.unwrap_or(u64::MAX)),
            (None, Some(jti)) if jti.len() <= MAX_TOKEN_ID => Revoked::Token(jti.into()),
            _ => return None,
        };
        Some(Self { target, until, by })
    }

    /// Returns the text that is stored and published.
    ///
    /// # Panics
    /// Never: every field serialises.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        let (user, at, jti) = match &self.target {
            Revoked::User(user, at) => (Some(user.to_string()), Some(*at), None),
            Revoked::Token(id) => (None, None, Some(id.to_string())),
        };
        let (at, by) = (at.filter(|at| *at < u64::MAX), self.by.clone());
        let text = Text { user, at, jti, until: self.until, by };
        serde_json::to_string(&text).expect("a revocation serialises")
    }
}

/// The known revocations. Cheap to clone; clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whether the stored revocations were ever loaded.
    are_loaded: bool,
    users: HashMap<UserId, Vec<IssuedUpTo>>,
    /// By `jti`: until when the token is revoked.
    tokens: HashMap<Box<str>, u64>,
    /// The number of revocations in `users`.
    of_users: usize,
}

/// One revocation of a user's tokens. Those of one user are kept apart: "all tokens for a minute"
/// and "the old tokens for a day" together do not mean "all tokens for a day".
#[derive(Clone, Copy, Debug)]
struct IssuedUpTo {
    at: u64,
    until: u64,
}

impl IssuedUpTo {
    /// Whether this revokes every token that `other` revokes.
    fn includes(self, other: Self) -> bool {
        self.at >= other.at && self.until >= other.until
    }
}

impl Revocations {
    /// Notes that the stored revocations were loaded.
    pub(crate) fn set_loaded(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).are_loaded = true;
    }

    /// Whether the stored revocations were ever loaded. Until then no user may be served.
    pub(crate) fn are_loaded(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).are_loaded
    }

    /// Adds a revocation, which stays until it expires even if Redis loses it. Returns whether it
    /// revokes more than what is known already.
    pub(crate) fn add(&self, Revocation { target, until, .. }: Revocation) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let State { users, tokens, of_users, .. } = &mut *state;
        match target {
            Revoked::User(user, at) => {
                let (known, added) = (users.entry(user).or_default(), IssuedUpTo { at, until });
                if known.iter().any(|known| known.includes(added)) {
                    return false;
                }
                *of_users -= known.len();
                known.retain(|known| !added.includes(*known));
                known.push(added);
                *of_users += known.len();
                true
            }
            Revoked::Token(id) => {
                let known = tokens.entry(id).or_default();
                std::mem::replace(known, until.max(*known)) < until
            }
        }
    }

    /// Whether a token of `user` is revoked.
    #[must_use]
    pub(crate) fn is_revoked(&self, user: &UserId, credential: &Credential) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let now = unix_seconds();
        let revokes = |known: &IssuedUpTo| credential.issued_at <= known.at && now < known.until;
        let by_user = state.users.get(user).is_some_and(|known| known.iter().any(revokes));
        let token = credential.token_id.as_deref().and_then(|id| state.tokens.get(id));
        by_user || token.is_some_and(|until| now < *until)
    }

    /// Returns the number of revocations, with those that have expired but are not purged yet.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.of_users + state.tokens.len()
    }

    /// Removes expired revocations. The cost grows with the number of all.
    pub(crate) fn purge_expired(&self) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let now = unix_seconds();
        state.users.retain(|_, known| {
            known.retain(|known| now < known.until);
            !known.is_empty()
        });
        state.tokens.retain(|_, until| now < *until);
        state.of_users = state.users.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(token_id: &str, issued_at: u64) -> Credential {
        Credential { token_id: Some(token_id.into()), issued_at }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn of_user(at: u64, until: u64) -> Revocation {
        Revocation { target: Revoked::User(user("u"), at), until, by: None }
    }

    #[test]
    fn a_revocation_survives_writing_and_reading() {
        for text in [
            r#"{"user":"teacher-42","at":1754471730,"until":1754558130}"#,
            r#"{"user":"a:*{}","until":1754558130}"#,
            r#"{"jti":"0b8f","until":1754558130}"#,
        ] {
            assert_eq!(Revocation::parse(text).unwrap().to_text(), text);
        }
        for other in ["", "{}", r#"{"user":"u"}"#, r#"{"until":1}"#, r#"{"user":"","until":1}"#] {
            assert_eq!(Revocation::parse(other), None, "{other}");
        }
        assert_eq!(Revocation::parse(r#"{"user":"u","jti":"t","until":1}"#), None);
        let long = format!(r#"{{"jti":"{}","until":1}}"#, "x".repeat(MAX_TOKEN_ID + 1));
        assert_eq!(Revocation::parse(&long), None);
    }

    #[test]
    fn tokens_of_a_revoked_user_are_refused_unless_they_are_newer() {
        let revocations = Revocations::default();
        let now = unix_seconds();
        assert!(revocations.add(of_user(now, now + 60)));
        assert!(!revocations.add(of_user(now - 9, now + 30)), "it revokes nothing more");
        assert!(revocations.is_revoked(&user("u"), &credential("a", now)));
        assert!(revocations.is_revoked(&user("u"), &Credential::default()), "without iat");
        assert!(!revocations.is_revoked(&user("u"), &credential("a", now + 1)));
        assert!(!revocations.is_revoked(&user("v"), &credential("a", now)));
        revocations.purge_expired();
        assert_eq!(revocations.count(), 1);
    }

    #[test]
    fn a_short_revocation_of_all_tokens_does_not_last_as_long_as_one_of_old_tokens() {
        let revocations = Revocations::default();
        let now = unix_seconds();
        // All tokens, but that is over; the old tokens for ten minutes more.
        assert!(revocations.add(of_user(u64::MAX, now)));
        assert!(revocations.add(of_user(now - 100, now + 600)));
        assert!(revocations.is_revoked(&user("u"), &credential("a", now - 100)));
        assert!(!revocations.is_revoked(&user("u"), &credential("a", now)));
        revocations.purge_expired();
        assert_eq!(revocations.count(), 1);
    }

    #[test]
    fn a_revoked_token_is_refused_until_the_revocation_expires() {
        let revocations = Revocations::default();
        let now = unix_seconds();
        let revoke = |id: &str, until| {
            revocations.add(Revocation { target: Revoked::Token(id.into()), until, by: None })
        };
        assert!(revoke("revoked", now + 60) && revoke("expired", now));
        assert!(!revoke("revoked", now + 60), "it is known already");
        assert!(revocations.is_revoked(&user("u"), &credential("revoked", now)));
        assert!(!revocations.is_revoked(&user("u"), &credential("expired", now)));
        assert!(!revocations.is_revoked(&user("u"), &credential("other", now)));
        revocations.purge_expired();
        assert_eq!(revocations.count(), 1);
    }
}
