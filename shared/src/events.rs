//! The events: the names they have on the wire, spelled here and nowhere else, what producers
//! send in them (`…V1`) and what a browser receives as `data` (`…Data`).
//!
//! Producers differ in how they name things. Both spellings are fields of the payload; the one of
//! the design wins. Everything is optional here: what an event must name is asked of its
//! [`Subject`].

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
    /// What a browser receives as `data`; `()` if nothing, or what the producer has worded.
    type Data: EventData;

    /// The event type as producers spell it today.
    const TYPE: &'static str;
    /// Other spellings of the type.
    const ALIASES: &'static [&'static str] = &[];
    /// The topic of the design.
    const TOPIC: Topic;
    /// Further topics that carry the event.
    const OTHER_TOPICS: &'static [&'static str] = &[];

    /// What the event is about.
    fn subject(&self) -> Subject<'_>;
}

/// A topic that a deployment may rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The setting that names it.
    pub setting: &'static str,
    /// Its name where the setting is not given.
    pub default: &'static str,
}

/// What an event is about: the ids that decide who is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The batch, whose owner is told.
    pub batch: Option<&'a str>,
    /// The class, whose owner is told where no owner of a batch is known.
    pub class: Option<&'a str>,
    /// The essay.
    pub essay: Option<&'a str>,
    /// The student.
    pub student: Option<&'a str>,
    /// The teacher, where the event is a message to one.
    pub teacher: Option<&'a str>,
}

impl Subject<'_> {
    /// Whether the event names anything at all.
    #[must_use]
    pub fn has_id(&self) -> bool {
        [self.batch, self.class, self.essay, self.student, self.teacher]
            .into_iter()
            .any(|id| usable_id(id).is_some())
    }
}

/// The id, unless it is one of the ways to say that there is none.
#[must_use]
pub fn usable_id(id: Option<&str>) -> Option<&str> {
    id.filter(|id| !id.is_empty() && *id != "unknown")
}

/// What any payload may carry, whatever its type.
#[derive(Debug, Default, Deserialize)]
pub struct CommonFields<'a> {
    /// The user to tell.
    #[serde(borrow)]
    pub user_id: Option<JsonString<'a>>,
    /// The same, as some producers name it.
    #[serde(borrow)]
    pub teacher_id: Option<JsonString<'a>>,
    /// The same, as others name it.
    #[serde(borrow)]
    pub created_by_user_id: Option<JsonString<'a>>,
    /// When it happened.
    #[serde(borrow)]
    pub timestamp: Option<JsonString<'a>>,
    /// Holds the time where the payload itself does not.
    #[serde(borrow, default, deserialize_with = "json::object")]
    pub metadata: Option<CommonMetadata<'a>>,
}

/// The part of a payload's `metadata` that is used.
#[derive(Debug, Default, Deserialize)]
pub struct CommonMetadata<'a> {
    /// When it happened.
    #[serde(borrow)]
    pub timestamp: Option<JsonString<'a>>,
}

impl CommonFields<'_> {
    /// The first usable of the names for the user to tell.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        [&self.user_id, &self.teacher_id, &self.created_by_user_id]
            .into_iter()
            .find_map(|id| usable_id(id.as_deref()))
    }

    /// When the event happened, as the payload says it.
    #[must_use]
    pub fn event_time(&self) -> Option<&str> {
        let metadata = self.metadata.as_ref().and_then(|metadata| metadata.timestamp.as_deref());
        self.timestamp.as_deref().or(metadata)
    }
}

/// A list of which only the length is of interest; it takes no memory.
pub type CountedList = Vec<serde::de::IgnoredAny>;

/// How many, if anybody said: the stated number, else the length of the list.
#[must_use]
pub fn count_or_len(stated: Option<u64>, list: Option<&CountedList>) -> Option<u64> {
    stated.or_else(|| list.map(|list| list.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_usable_user_wins() {
        let user = |json| {
            serde_json::from_str::<CommonFields<'_>>(json).unwrap().user().map(str::to_owned)
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
    fn a_stated_count_wins_over_a_list_and_nothing_stays_nothing() {
        let list: CountedList = serde_json::from_str("[1,{},null]").unwrap();
        assert_eq!(count_or_len(Some(7), Some(&list)), Some(7));
        assert_eq!(count_or_len(None, Some(&list)), Some(3));
        assert_eq!(count_or_len(None, None), None);
    }
}
