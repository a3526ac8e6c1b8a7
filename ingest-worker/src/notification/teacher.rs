//! Notifications whose text a service has written itself.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::to_raw_value;
use shared::{
    events::teacher::{Forwarded, TeacherNotificationRequestedV1},
    notification::Notification,
    time::{self, Timestamp},
};

use super::Notify;

impl Notify for TeacherNotificationRequestedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let mut data = self.payload.unwrap_or_default();
        // Every notification sets these itself.
        for key in ["timestamp", "category", "priority"] {
            data.remove(key);
        }
        let deadline = self.deadline_timestamp.as_deref().and_then(time::parse);
        set_or_keep(&mut data, "batch_id", self.batch_id.as_ref());
        set_or_keep(&mut data, "class_id", self.class_id.as_ref());
        set_or_keep(&mut data, "correlation_id", self.correlation_id.as_ref());
        set_or_keep(&mut data, "deadline", deadline.as_ref());
        set_or_keep(&mut data, "action_required", self.action_required.as_ref());
        Some(Notification::new(self.notification_type, self.category, self.priority, at, data))
    }
}

/// Sets `key` to `value`; without a value keeps the payload's own, or sets null if it has none.
fn set_or_keep(data: &mut BTreeMap<String, Forwarded>, key: &str, value: Option<&impl Serialize>) {
    if value.is_some() || !data.contains_key(key) {
        let value = to_raw_value(&value).expect("texts, times and booleans serialise");
        data.insert(key.to_owned(), value.into());
    }
}
