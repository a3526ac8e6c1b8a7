//! What schemas say of the notifications whose wording is fixed.

use schemars::{JsonSchema as _, Schema};

use super::{Category, Data, Frame, NotificationData, Priority};

pub use schemars::SchemaGenerator;

/// One kind of notification.
#[derive(Debug)]
pub struct NotificationSchema {
    /// Its `event`.
    pub event: &'static str,
    /// What it is about.
    pub category: Category,
    /// How urgent it is.
    pub priority: Priority,
    /// The whole of it, as the worker writes it.
    pub frame: Schema,
}

/// What a browser may receive of an event.
pub trait EventData {
    /// Says what it is, unless that is not fixed.
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
