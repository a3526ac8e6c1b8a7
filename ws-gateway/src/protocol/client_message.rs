//! What the gateway understands from a client.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;

/// What a client may say. Anything else is ignored and counted.
#[derive(Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage<'a> {
    /// Asks for a pong.
    Ping,
    /// Replaces the token of the connection.
    Auth {
        /// A token with the same subject.
        #[serde(borrow)]
        token: Cow<'a, str>,
    },
    /// Replaces the filter.
    Filter {
        /// The categories to receive; none: all.
        categories: Vec<String>,
    },
}

impl<'a> ClientMessage<'a> {
    /// Reads a message, or none if it is not one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The categories that a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Option<Box<[Box<str>]>>);

impl Filter {
    /// Lets only these categories through; none at all: everything.
    #[must_use]
    pub fn new<'a>(categories: impl IntoIterator<Item = &'a str>) -> Self {
        let named = categories.into_iter().map(str::trim).filter(|name| !name.is_empty());
        let named: Box<[Box<str>]> = named.map(Into::into).collect();
        Self((!named.is_empty()).then_some(named))
    }

    /// Whether `text` is for this client. Parses it only if there is a filter; what names no
    /// category passes.
    #[must_use]
    pub fn passes(&self, text: &str) -> bool {
        #[derive(Deserialize)]
        struct Categorised<'a> {
            #[serde(borrow)]
            category: Option<Cow<'a, str>>,
        }
        let Some(wanted) = &self.0 else { return true };
        // An array would be read as the fields of the struct, in order.
        if !text.trim_start().starts_with('{') {
            return true;
        }
        let category = serde_json::from_str::<Categorised<'_>>(text).ok().and_then(|c| c.category);
        category.is_none_or(|category| wanted.iter().any(|wanted| **wanted == *category))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_ping_renew_its_token_and_filter() {
        assert_eq!(ClientMessage::parse(r#"{"type":"ping","n":1}"#), Some(ClientMessage::Ping));
        let auth = ClientMessage::Auth { token: "t".into() };
        assert_eq!(ClientMessage::parse(r#"{"type":"auth","token":"t"}"#), Some(auth));
        let filter = ClientMessage::Filter { categories: vec!["a".into()] };
        assert_eq!(ClientMessage::parse(r#"{"type":"filter","categories":["a"]}"#), Some(filter));
        for other in ["", "ping", "[]", r#"{"type":"pong"}"#, r#"{"type":"auth"}"#, "{", "1e400"] {
            assert_eq!(ClientMessage::parse(other), None, "{other}");
        }
        assert_eq!(ClientMessage::parse(&"[".repeat(4096)), None);
    }

    #[test]
    fn a_filter_lets_its_categories_and_what_has_none_through() {
        let alerts = r#"{"id":"1-0","event":"e","category":"system_alerts","data":{}}"#;
        let classes = r#"{"id":"1-0","event":"e","category":"class_management","data":{}}"#;
        let filter = Filter::new("system_alerts, batch_progress".split(','));
        assert!(filter.passes(alerts) && !filter.passes(classes));
        assert!(filter.passes(r#"{"event":"e"}"#) && filter.passes("not JSON"));
        assert!(Filter::new(",".split(',')).passes(classes));
        assert_eq!(Filter::new([]), Filter::default());
    }
}
