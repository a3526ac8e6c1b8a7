//! Formats notifications: the message and data of each event. Pure: no I/O, no clock, and neither
//! Kafka nor Redis. Texts of producers are passed on as data and never interpreted.

use shared::{events::Event, notification::Notification, time::Timestamp};

mod batch;
mod class;
mod essay;
mod file;
pub mod loss_time;
mod matching;
pub mod publisher;
mod results;
mod teacher;

/// An event that can become a notification.
///
/// An implementation is pure: equal events give equal notifications.
pub(crate) trait Notify: Event {
    /// Returns the notification of the event, which happened `at`; `None` if it is by rule no
    /// notification.
    fn notify(self, at: Timestamp) -> Option<Notification>;
}
