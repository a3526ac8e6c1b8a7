//! Domain events: their type and topic names, the payloads that producers send (`…V1`), and the
//! `data` that browsers receive (`…Data`).
//!
//! Every payload field is optional; an event is valid if its [`Subject`] has an id. Where producers
//! use two names for one thing, both are fields, and the one of the contract has precedence.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{envelope::JsonString, notification::EventData};

pub mod batch;
pub mod class;
pub mod essay;
pub mod file;
mod json;
pub mod matching;
pub mod results;
pub mod teacher;

/// The payload of one event type.
pub trait Event: DeserializeOwned {
    /// The notification's `data`; `()` if the event is not notified, or if the producer words it.
    type Data: EventData;

    /// The event type.
    const TYPE: &'static str;
    /// Alternative names of the event type.
    const ALIASES: &'static [&'static str] = &[];
    /// The topic.
    const TOPIC: Topic;
    /// Further topics that carry this event.
    const OTHER_TOPICS: &'static [&'static str] = &[];

    /// Returns the ids of what the event is about.
    fn subject(&self) -> Subject<'_>;
}

/// A topic whose name is a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The environment variable with the name of the topic.
    pub setting: &'static str,
    /// The default name.
    pub default: &'static str,
}

/// The ids of what an event is about; they determine the recipient if the event names no user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The batch; its owner is the recipient.
    pub batch: Option<&'a str>,
    /// The class; its owner is the recipient if the owner of the batch is unknown.
    pub class: Option<&'a str>,
    /// The essay.
    pub essay: Option<&'a str>,
    /// The student.
    pub student: Option<&'a str>,
    /// The teacher, if the event is a message to one.
    pub teacher: Option<&'a str>,
}

impl Subject<'_> {
    /// Returns whether at least one id is usable.
    #[must_use]
    pub fn has_id(&self) -> bool {
        [self.batch, self.class, self.essay, self.student, self.teacher]
            .into_iter()
            .any(|id| usable_id(id).is_some())
    }
}

/// Returns the id, or `None` for the placeholders that producers send: empty and `unknown`.
#[must_use]
pub fn usable_id(id: Option<&str>) -> Option<&str> {
    id.filter(|id| !id.is_empty() && *id != "unknown")
}

/// Fields that payloads of every event type may contain.
#[derive(Debug, Default, Deserialize)]
pub struct CommonFields<'a> {
    /// The recipient.
    #[serde(borrow)]
    pub user_id: Option<JsonString<'a>>,
    /// The recipient, as some producers name it.
    #[serde(borrow)]
    pub teacher_id: Option<JsonString<'a>>,
    /// The recipient, as other producers name it.
    #[serde(borrow)]
    pub created_by_user_id: Option<JsonString<'a>>,
    /// When the event happened.
    #[serde(borrow)]
    pub timestamp: Option<JsonString<'a>>,
    /// Contains the timestamp if the payload does not.
    #[serde(borrow, default, deserialize_with = "json::object")]
    pub metadata: Option<CommonMetadata<'a>>,
}

/// The used part of a payload's `metadata`.
#[derive(Debug, Default, Deserialize)]
pub struct CommonMetadata<'a> {
    /// When the event happened.
    #[serde(borrow)]
    pub timestamp: Option<JsonString<'a>>,
}

impl CommonFields<'_> {
    /// Returns the recipient: the first usable of the three fields.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        [&self.user_id, &self.teacher_id, &self.created_by_user_id]
            .into_iter()
            .find_map(|id| usable_id(id.as_deref()))
    }

    /// Returns the timestamp of the event, unparsed.
    #[must_use]
    pub fn event_time(&self) -> Option<&str> {
        let metadata = self.metadata.as_ref().and_then(|metadata| metadata.timestamp.as_deref());
        self.timestamp.as_deref().or(metadata)
    }
}

/// A JSON list of which only the length is used; its items take no memory.
pub type CountedList = Vec<serde::de::IgnoredAny>;

/// Returns the stated count, else the length of the list.
#[must_use]
pub fn count_or_len(stated: Option<u64>, list: Option<&CountedList>) -> Option<u64> {
    stated.or_else(|| list.map(|list| list.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_usable_user_id_is_the_recipient() {
        let user = |json| {
            serde_json::from_str::<CommonFields<'_>>(json).unwrap().user_id().map(str::to_owned)
        };
        assert_eq!(user(r#"{"user_id":"a","teacher_id":"b"}"#).as_deref(), Some("a"));
        assert_eq!(user(r#"{"user_id":"unknown","teacher_id":"b"}"#).as_deref(), Some("b"));
        assert_eq!(user(r#"{"user_id":"","created_by_user_id":"c"}"#).as_deref(), Some("c"));
        assert_eq!(user(r#"{"user_id":null}"#), None);
    }

    #[test]
    fn a_subject_needs_one_usable_id() {
        assert!(!Subject::default().has_id());
        assert!(
            !Subject { batch: Some(""), class: Some("unknown"), ..Subject::default() }.has_id()
        );
        assert!(Subject { student: Some("s"), ..Subject::default() }.has_id());
    }

    #[test]
    fn a_stated_count_has_precedence_over_the_length_of_the_list() {
        let list: CountedList = serde_json::from_str("[1,{},null]").unwrap();
        assert_eq!(count_or_len(Some(7), Some(&list)), Some(7));
        assert_eq!(count_or_len(None, Some(&list)), Some(3));
        assert_eq!(count_or_len(None, None), None);
    }
}
