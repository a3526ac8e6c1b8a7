//! Notifications that a service words itself and asks to be passed on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

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
    pub payload: Option<BTreeMap<String, Box<RawValue>>>,
    pub action_required: Option<bool>,
    pub deadline_timestamp: Option<String>,
    pub correlation_id: Option<String>,
    pub batch_id: Option<String>,
    pub class_id: Option<String>,
}

impl Event for TeacherNotificationRequestedV1 {
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
