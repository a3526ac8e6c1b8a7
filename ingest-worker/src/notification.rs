//! The wording: what a browser is told about each event. Pure: no I/O, no clock, no names of
//! Kafka or Redis. A producer's texts are data; they are passed on, never interpreted.

use shared::{events::Event, notification::Notification, time::Timestamp};

pub mod batch;
pub mod class;
pub mod essay;
pub mod file;
pub mod matching;
pub mod publisher;
pub mod results;
pub mod teacher;

/// An event that users are told about.
pub trait Notify: Event {
    /// Words the event, which happened `at`; `None` if it is by rule no notification.
    fn notify(self, at: Timestamp) -> Option<Notification>;
}
