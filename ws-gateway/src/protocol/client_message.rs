//! Messages of a client, and the filter that it may set.

use std::{borrow::Cow, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

/// A message of a client. Any other text is ignored and counted.
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
    /// Replaces the filter of the connection.
    Filter {
        /// The categories to receive; empty: all.
        categories: Vec<String>,
    },
    /// Marks notifications as read, on every device of the user. Each connection of the user is
    /// sent the read state.
    Read {
        /// The position of the newest notification that was read; if it is missing, nothing is
        /// marked. A position that is marked already, or not reached yet, marks no more.
        #[serde(borrow, default)]
        up_to: Option<Cow<'a, str>>,
    },
}

impl<'a> ClientMessage<'a> {
    /// Parses a message; none if the text is not one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// The categories that a client receives. Clones share their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(Option<Arc<Vec<Box<str>>>>);

impl Filter {
    /// Returns a filter for these categories; without any, every notification passes.
    #[must_use]
    pub fn new<'a>(categories: impl IntoIterator<Item = &'a str>) -> Self {
        let named = categories.into_iter().map(str::trim).filter(|name| !name.is_empty());
        let named: Vec<Box<str>> = named.map(Into::into).collect();
        Self((!named.is_empty()).then(|| Arc::new(named)))
    }

    /// Returns whether every text passes.
    #[must_use]
    pub fn passes_all(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the names of the categories; none if every notification passes.
    #[must_use]
    pub(crate) fn categories(&self) -> Option<&[Box<str>]> {
        self.0.as_deref().map(Vec::as_slice)
    }

    /// Returns whether `text` passes. It is parsed only if there is a filter; a text without a
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
    fn pings_tokens_and_filters_are_messages() {
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
    fn a_filter_passes_its_categories_and_texts_without_one() {
        let alerts = r#"{"id":"1-0","event":"e","category":"system_alerts","data":{}}"#;
        let classes = r#"{"id":"1-0","event":"e","category":"class_management","data":{}}"#;
        let filter = Filter::new("system_alerts, batch_progress".split(','));
        assert!(filter.passes(alerts) && !filter.passes(classes));
        assert!(filter.passes(r#"{"event":"e"}"#) && filter.passes("not JSON"));
        assert!(Filter::new(",".split(',')).passes(classes));
        assert_eq!(Filter::new([]), Filter::default());
    }
}
