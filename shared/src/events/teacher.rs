//! Notifications that producers word themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Value, value::RawValue};

use super::{Event, Subject, Topic};
use crate::notification::{Category, Priority};

/// A request to notify a teacher, with an open set of types. The notification's `data` is the
/// payload; the fields next to it override fields of the same name in it.
#[derive(Debug, Deserialize)]
pub struct TeacherNotificationRequestedV1 {
    /// The recipient.
    pub teacher_id: Option<String>,
    /// The `event` of the notification.
    pub notification_type: String,
    /// The category of the notification.
    pub category: Category,
    /// The priority of the notification.
    pub priority: Priority,
    /// The `data` of the notification, passed on unchanged.
    pub payload: Option<BTreeMap<String, Forwarded>>,
    /// Whether the user has to act.
    pub action_required: Option<bool>,
    /// When the action is due.
    pub deadline_timestamp: Option<String>,
    /// The correlation id of the request.
    pub correlation_id: Option<String>,
    /// The batch.
    pub batch_id: Option<String>,
    /// The class.
    pub class_id: Option<String>,
}

/// A JSON value that is passed on unchanged. Values that some clients cannot parse are rejected:
/// nesting deeper than 128, numbers outside the range of a double, unpaired surrogates.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Forwarded(Box<RawValue>);

impl<'de> Deserialize<'de> for Forwarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str::<Value>(raw.get()) {
            Ok(_) => Ok(Self(raw)),
            Err(_) => Err(D::Error::custom("not a JSON value that every client can parse")),
        }
    }
}

impl From<Box<RawValue>> for Forwarded {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

impl Event for TeacherNotificationRequestedV1 {
    type Data = ();

    const TYPE: &'static str = "huleedu.notification.teacher.requested.v1";
    const TOPIC: Topic =
        Topic { setting: "TEACHER_NOTIFICATION_REQUESTED_TOPIC", default: Self::TYPE };

    /// A request without batch and class is about the recipient.
    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.batch_id.as_deref(),
            class: self.class_id.as_deref(),
            teacher: self.teacher_id.as_deref(),
            ..Subject::default()
        }
    }
}
