//! Notifications that a service words itself and asks to be passed on.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Value, value::RawValue};

use super::{Event, Subject, Topic};
use crate::notification::{Category, Priority};

/// A service asks for a notification of an open set of types. What a browser receives is the
/// payload, with the keys that stand beside it winning over its own.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct TeacherNotificationRequestedV1 {
    pub teacher_id: Option<String>,
    pub notification_type: String,
    pub category: Category,
    pub priority: Priority,
    pub payload: Option<BTreeMap<String, Forwarded>>,
    pub action_required: Option<bool>,
    pub deadline_timestamp: Option<String>,
    pub correlation_id: Option<String>,
    pub batch_id: Option<String>,
    pub class_id: Option<String>,
}

/// A JSON value that is passed on as its producer wrote it. One that some client could not read is
/// refused: nested deeper than 128, a number outside the range of a double, half a surrogate pair.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Forwarded(Box<RawValue>);

impl<'de> Deserialize<'de> for Forwarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str::<Value>(raw.get()) {
            Ok(_) => Ok(Self(raw)),
            Err(_) => Err(D::Error::custom("not a value that every client can read")),
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

    /// A request that names nothing else is about the teacher it is for.
    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.batch_id.as_deref(),
            class: self.class_id.as_deref(),
            teacher: self.teacher_id.as_deref(),
            ..Subject::default()
        }
    }
}
