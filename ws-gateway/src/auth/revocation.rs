//! Which tokens no longer count although their time is not over: those of a user that were issued
//! up to a moment, or the one with an id.
//!
//! They are kept here, in memory, so that a connect costs no round trip. The subscriber loads
//! what Redis has whenever it has (re)subscribed, before any user is served, and adds what is
//! published. While Redis is away, clients are let in by what is known, and are sent nothing
//! until it is back: then what was revoked meanwhile is loaded first, and closes them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use shared::user::UserId;

use super::{Credential, MAX_TOKEN_ID, seconds_since_1970};

/// What is revoked, and how long that is to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What is revoked.
    pub what: Revoked,
    /// When all that it is about has expired, in seconds since 1970.
    pub until: u64,
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// All tokens of a user that were issued up to a moment, in seconds since 1970.
    User(UserId, u64),
    /// The token with this id (`jti`).
    Token(Box<str>),
}

/// A revocation as it is stored and published.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Without it, no token of the user counts, whenever it is issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    until: u64,
}

impl Revocation {
    /// Reads one, or none if the text is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let Text { user, at, jti, until } = serde_json::from_str(text).ok()?;
        let what = match (user, jti) {
            (Some(user), None) => Revoked::User(UserId::new(&user).ok()?, at.unwrap_or(u64::MAX)),
            (None, Some(jti)) if jti.len() <= MAX_TOKEN_ID => Revoked::Token(jti.into()),
            _ => return None,
        };
        Some(Self { what, until })
    }

    /// The text of it.
    ///
    /// # Panics
    /// Never: every field serialises.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (user, at, jti) = match &self.what {
            Revoked::User(user, at) => (Some(user.to_string()), Some(*at), None),
            Revoked::Token(id) => (None, None, Some(id.to_string())),
        };
        let text = Text { user, at: at.filter(|at| *at < u64::MAX), jti, until: self.until };
        serde_json::to_string(&text).expect("a revocation serialises")
    }
}

/// The revocations that are known. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    /// Up to when issued tokens do not count, and until when that holds.
    users: HashMap<UserId, (u64, u64)>,
    tokens: HashMap<Box<str>, u64>,
}

impl Revocations {
    /// Adds one. What is known stays, whatever becomes of it in Redis.
    pub fn add(&self, Revocation { what, until }: Revocation) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match what {
            Revoked::User(user, at) => {
                let known = state.users.entry(user).or_default();
                *known = (known.0.max(at), known.1.max(until));
            }
            Revoked::Token(id) => {
                let known = state.tokens.entry(id).or_default();
                *known = until.max(*known);
            }
        }
    }

    /// Whether a user's token no longer counts.
    #[must_use]
    pub fn is_revoked(&self, user: &UserId, credential: &Credential) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let now = seconds_since_1970();
        let user = state.users.get(user);
        let by_user = user.is_some_and(|(at, until)| credential.issued_at <= *at && now < *until);
        let token = credential.token_id.as_ref().and_then(|id| state.tokens.get(id));
        by_user || token.is_some_and(|until| now < *until)
    }

    /// Forgets what is over, and returns how many are left.
    pub fn purge_expired(&self) -> usize {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let now = seconds_since_1970();
        state.users.retain(|_, (_, until)| now < *until);
        state.tokens.retain(|_, until| now < *until);
        state.users.len() + state.tokens.len()
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

    #[test]
    fn a_revocation_is_read_as_it_was_written() {
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
    fn a_user_is_revoked_up_to_a_moment_and_comes_back_with_a_newer_token() {
        let revocations = Revocations::default();
        let now = seconds_since_1970();
        let add = |at, until| {
            revocations.add(Revocation { what: Revoked::User(user("u"), at), until });
        };
        add(now, now + 60);
        add(now - 9, now + 30);
        assert!(revocations.is_revoked(&user("u"), &credential("a", now)));
        assert!(revocations.is_revoked(&user("u"), &Credential::default()), "it does not say when");
        assert!(!revocations.is_revoked(&user("u"), &credential("a", now + 1)));
        assert!(!revocations.is_revoked(&user("v"), &credential("a", now)));
    }

    #[test]
    fn a_token_is_revoked_until_it_would_have_expired() {
        let revocations = Revocations::default();
        let now = seconds_since_1970();
        for (id, until) in [("here", now + 60), ("over", now)] {
            revocations.add(Revocation { what: Revoked::Token(id.into()), until });
        }
        assert!(revocations.is_revoked(&user("u"), &credential("here", now)));
        assert!(!revocations.is_revoked(&user("u"), &credential("over", now)));
        assert!(!revocations.is_revoked(&user("u"), &credential("other", now)));
        assert_eq!(revocations.purge_expired(), 1);
    }
}
