//! What a browser receives. The text of a notification is built once, by the worker, and passes
//! through Redis and the gateway unparsed.

mod schema;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::{
    time::{Timestamp, TimestampSchema},
    user::UserId,
};

pub use schema::{EventData, NotificationSchema, SchemaGenerator};

/// What a notification is about; clients filter by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A batch moved on.
    BatchProgress,
    /// Results of a check or an assessment are there.
    ProcessingResults,
    /// Files were added, removed or read.
    FileOperations,
    /// Classes and their students.
    ClassManagement,
    /// Matching essays with students.
    StudentWorkflow,
    /// Something needs attention.
    SystemAlerts,
}

/// How long a notification may wait to share a write with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Never waits.
    Critical,
    /// Never waits.
    Immediate,
    /// Never waits.
    High,
    /// Never waits.
    Standard,
    /// May wait a little.
    Low,
}

/// A notification that has no recipient yet.
#[derive(Clone, Debug)]
pub struct Notification {
    event: Cow<'static, str>,
    category: Category,
    priority: Priority,
    timestamp: Timestamp,
    event_id: Option<Uuid>,
    correlation_id: Option<String>,
    trace: Option<String>,
    data: Box<RawValue>,
}

/// What a browser receives of one event: the data, and the names under which they come.
pub trait NotificationData: Serialize + JsonSchema {
    /// The notification's `event`.
    const EVENT: &'static str;
    /// What it is about.
    const CATEGORY: Category;
    /// How long it may wait.
    const PRIORITY: Priority;
}

/// What the event says, and what every notification repeats here because frontends read it here.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{D}")]
pub struct Data<D> {
    #[serde(flatten)]
    event: D,
    /// When the event happened.
    #[schemars(with = "TimestampSchema")]
    timestamp: Timestamp,
    /// What it is about.
    category: Category,
    /// How urgent it is.
    priority: Priority,
}

/// A notification as sent. Redis adds the key `id` when it is published.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Frame<'a, D> {
    /// Names what happened.
    event: &'a str,
    /// What it is about.
    category: Category,
    /// How urgent it is.
    priority: Priority,
    /// When the event happened.
    #[schemars(with = "TimestampSchema")]
    timestamp: Timestamp,
    /// Where it stands in its trace, a W3C `traceparent`; only if tracing is enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    trace: Option<&'a str>,
    /// Whom it is for.
    user_id: &'a str,
    /// The event it was made from; the same event is told under the same id.
    event_id: Option<Uuid>,
    /// What the event belongs to, in the words of its producer.
    correlation_id: Option<&'a str>,
    /// What the event says.
    data: D,
}

impl Notification {
    /// A notification of an event that happened at `timestamp`.
    #[must_use]
    pub fn from_data<T: NotificationData>(timestamp: Timestamp, data: T) -> Self {
        Self::new(T::EVENT, T::CATEGORY, T::PRIORITY, timestamp, data)
    }

    /// A notification named `event` that says `data`, an object without the keys `timestamp`,
    /// `category` and `priority`.
    ///
    /// # Panics
    /// If `data` does not serialise as an object: an error in its type, which its fixture shows.
    #[must_use]
    pub fn new(
        event: impl Into<Cow<'static, str>>,
        category: Category,
        priority: Priority,
        timestamp: Timestamp,
        data: impl Serialize,
    ) -> Self {
        let data = Data { event: data, timestamp, category, priority };
        Self {
            event: event.into(),
            category,
            priority,
            timestamp,
            event_id: None,
            correlation_id: None,
            trace: None,
            data: to_raw_value(&data).expect("the data of an event is an object"),
        }
    }

    /// Names the event it was made from.
    #[must_use]
    pub fn with_ids(mut self, event_id: Option<Uuid>, correlation_id: Option<&str>) -> Self {
        self.event_id = event_id;
        self.correlation_id = correlation_id.map(str::to_owned);
        self
    }

    /// Says where it stands in its trace.
    pub fn set_traceparent(&mut self, traceparent: String) {
        self.trace = Some(traceparent);
    }

    /// The text for one recipient: a JSON object that still lacks the `id` that Redis gives it.
    ///
    /// # Panics
    /// Never: every field serialises.
    #[must_use]
    pub fn to_json(&self, user: &UserId) -> String {
        let frame = Frame {
            event: &self.event,
            category: self.category,
            priority: self.priority,
            timestamp: self.timestamp,
            trace: self.trace.as_deref(),
            user_id: user.as_str(),
            event_id: self.event_id,
            correlation_id: self.correlation_id.as_deref(),
            data: &*self.data,
        };
        serde_json::to_string(&frame).expect("a frame holds only strings and raw JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_keeps_the_order_of_keys_and_what_producers_wrote() {
        #[derive(Serialize)]
        struct Said {
            message: &'static str,
        }
        let at = crate::time::parse("2025-08-06T09:15:31.000000Z").unwrap();
        let text = Notification::new(
            "class_created",
            Category::ClassManagement,
            Priority::Standard,
            at,
            Said { message: "<b>Åsa</b>" },
        )
        .with_ids(None, Some("c-1"))
        .to_json(&UserId::new("t\"1").unwrap());
        assert_eq!(
            text,
            concat!(
                r#"{"event":"class_created","category":"class_management","priority":"standard","#,
                r#""timestamp":"2025-08-06T09:15:31Z","user_id":"t\"1","event_id":null,"#,
                r#""correlation_id":"c-1","data":{"message":"<b>Åsa</b>","#,
                r#""timestamp":"2025-08-06T09:15:31Z","category":"class_management","#,
                r#""priority":"standard"}}"#
            )
        );
    }
}
