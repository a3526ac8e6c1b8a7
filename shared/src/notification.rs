//! Notifications as browsers receive them. The worker serialises a notification once; Redis and the
//! gateway pass the JSON on without parsing it.

mod size;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::{
    time::{Timestamp, TimestampSchema},
    user::UserId,
};

pub use schemars::SchemaGenerator;
pub use size::TooLarge;

/// The category of a notification; clients filter by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Progress of a batch.
    BatchProgress,
    /// Results of a spellcheck or an assessment.
    ProcessingResults,
    /// Files added, removed or processed.
    FileOperations,
    /// Classes and their students.
    ClassManagement,
    /// Matching of essays with students.
    StudentWorkflow,
    /// Errors that need attention.
    SystemAlerts,
}

/// The priority of a notification: only `low` may be delayed to share a socket write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Written at once.
    Critical,
    /// Written at once.
    Immediate,
    /// Written at once.
    High,
    /// Written at once.
    Standard,
    /// May be delayed up to `LOW_PRIORITY_MAX_DELAY`.
    Low,
}

/// A notification without a recipient, which [`Notification::to_json`] adds.
///
/// ```
/// use shared::{
///     events::class::ClassCreatedData, notification::Notification, time::Timestamp, user::UserId,
/// };
///
/// let data = ClassCreatedData {
///     class_id: Some("class-1".into()),
///     class_designation: Some("9A".into()),
///     course_codes: None,
///     message: "Class 9A was created".into(),
/// };
/// let notification = Notification::from_data(Timestamp::UNIX_EPOCH, data);
/// let json = notification.to_json(&UserId::new("teacher-42")?);
/// assert!(json.starts_with(r#"{"event":"class_created","category":"class_management""#));
/// # Ok::<(), shared::user::InvalidUserId>(())
/// ```
#[derive(Clone, Debug)]
pub struct Notification {
    event: Cow<'static, str>,
    category: Category,
    priority: Priority,
    timestamp: Timestamp,
    event_id: Option<Uuid>,
    correlation_id: Option<String>,
    trace: Option<String>,
    is_restored: bool,
    data: Box<RawValue>,
}

/// The `data` of a notification, with the constants of its event.
pub trait NotificationData: Serialize + JsonSchema {
    /// The `event` of the notification.
    const EVENT: &'static str;
    /// The category.
    const CATEGORY: Category;
    /// The priority.
    const PRIORITY: Priority;
}

/// The schema of a notification with a fixed `event`.
#[derive(Debug)]
pub struct NotificationSchema {
    /// The `event` of the notification.
    pub event: &'static str,
    /// The category.
    pub category: Category,
    /// The priority.
    pub priority: Priority,
    /// The schema of the whole frame, as the worker publishes it.
    pub frame: Schema,
}

/// The notification data of an event type, or `()` if the event is not notified or the producer
/// chooses its `event`.
pub trait EventData {
    /// Returns the schema of the notification; `None` for `()`.
    fn schema(generator: &mut SchemaGenerator) -> Option<NotificationSchema>;
}

impl<T: NotificationData> EventData for T {
    fn schema(generator: &mut SchemaGenerator) -> Option<NotificationSchema> {
        let frame = Frame::<Data<T>>::json_schema(generator);
        let (event, category, priority) = (T::EVENT, T::CATEGORY, T::PRIORITY);
        Some(NotificationSchema { event, category, priority, frame })
    }
}

impl EventData for () {
    fn schema(_: &mut SchemaGenerator) -> Option<NotificationSchema> {
        None
    }
}

/// The data of an event, with the fields that frontends expect in `data` of every notification.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{D}")]
pub struct Data<D> {
    #[serde(flatten)]
    event: D,
    /// When the event happened.
    #[schemars(with = "TimestampSchema")]
    timestamp: Timestamp,
    /// The category of the notification.
    category: Category,
    /// The priority of the notification.
    priority: Priority,
}

/// A notification as published. The publish script adds the key `id`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Frame<'a, D> {
    /// True if the event was published before under another `id`, which Redis has lost; absent
    /// otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    restored: Option<bool>,
    /// The name of the event.
    event: &'a str,
    /// The category of the notification.
    category: Category,
    /// The priority of the notification.
    priority: Priority,
    /// When the event happened.
    #[schemars(with = "TimestampSchema")]
    timestamp: Timestamp,
    /// The W3C `traceparent`; present only if tracing is enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    trace: Option<&'a str>,
    /// The recipient.
    user_id: &'a str,
    /// The id of the event; repeated deliveries of one event have the same id.
    event_id: Option<Uuid>,
    /// The correlation id that the producer set.
    correlation_id: Option<&'a str>,
    /// The data of the event.
    data: D,
}

impl Notification {
    /// Creates a notification for an event that happened at `timestamp`.
    #[must_use]
    pub fn from_data<T: NotificationData>(timestamp: Timestamp, data: T) -> Self {
        Self::new(T::EVENT, T::CATEGORY, T::PRIORITY, timestamp, data)
    }

    /// Creates a notification named `event`. `data` is an object without the keys `timestamp`,
    /// `category` and `priority`.
    ///
    /// # Panics
    /// If `data` does not serialise as an object: a mistake in its type, which its fixture shows.
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
            is_restored: false,
            data: to_raw_value(&data).expect("the data of an event is an object"),
        }
    }

    /// Sets the id of the event and its correlation id.
    #[must_use]
    pub fn with_ids(mut self, event_id: Option<Uuid>, correlation_id: Option<&str>) -> Self {
        self.event_id = event_id;
        self.correlation_id = correlation_id.map(str::to_owned);
        self
    }

    /// Sets the `traceparent`.
    pub fn set_traceparent(&mut self, traceparent: String) {
        self.trace = Some(traceparent);
    }

    /// Marks the notification as one that was published before, and that Redis may have lost.
    pub fn set_restored(&mut self) {
        self.is_restored = true;
    }

    /// Cuts the lists in the data so that the JSON takes at most `limit` bytes for any recipient.
    /// Then `data.truncated` is true, and `data.<list>_count` is the full length of each cut list.
    ///
    /// # Errors
    /// [`TooLarge`] if cutting all lists is not enough.
    pub fn limited_to(self, limit: usize) -> Result<Self, TooLarge> {
        let names = self.event.len() + self.correlation_id.as_ref().map_or(0, String::len);
        let data = size::limited(&self.data, names, limit)?.unwrap_or(self.data);
        Ok(Self { data, ..self })
    }

    /// Returns the bytes of its texts and data.
    #[must_use]
    pub fn memory(&self) -> usize {
        let names = self.event.len() + self.correlation_id.as_ref().map_or(0, String::len);
        names + self.data.get().len()
    }

    /// Returns the JSON for one recipient, without the `id` that the publish script adds.
    ///
    /// # Panics
    /// Never: every field serialises.
    #[must_use]
    pub fn to_json(&self, user: &UserId) -> String {
        let frame = Frame {
            restored: self.is_restored.then_some(true),
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
        serde_json::to_string(&frame).expect("a frame contains only strings and raw JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_keeps_the_order_of_keys_and_the_texts_of_producers() {
        #[derive(Serialize)]
        struct Payload {
            message: &'static str,
        }
        let at = crate::time::parse("2025-08-06T09:15:31.000000Z").unwrap();
        let text = Notification::new(
            "class_created",
            Category::ClassManagement,
            Priority::Standard,
            at,
            Payload { message: "<b>Åsa</b>" },
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
