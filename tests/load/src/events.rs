//! The events that the load tester sends, formatted as text: serializing JSON values would cost
//! more than sending them.

use std::fmt::Write as _;

use clap::ValueEnum;
use jiff::Timestamp;

/// The type of the events, by the priority of their notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kind {
    /// A file was added to a batch: standard priority.
    File,
    /// An assessment failed: immediate priority.
    Immediate,
    /// A student was created: low priority, may be delayed to share a write.
    Low,
}

const FILE: &str = "huleedu.file.batch.file.added.v1";
const FAILED: &str = "huleedu.cj_assessment.failed.v1";
const STUDENT: &str = "huleedu.class.student.created.v1";
const BATCH: &str = "7b0e6f0a-3c55-4a7e-9d62-0d7f9f0c1a11";

/// Formats the events of a run.
#[derive(Clone, Debug)]
pub struct Writer {
    kind: Kind,
    /// The first 24 characters of all event ids; the last twelve are the event's number.
    id_prefix: String,
    time: String,
}

impl Kind {
    /// Returns the event type.
    #[must_use]
    pub fn event_type(self) -> &'static str {
        match self {
            Self::File => FILE,
            Self::Immediate => FAILED,
            Self::Low => STUDENT,
        }
    }

    /// Returns the Kafka topic.
    #[must_use]
    pub fn topic(self) -> &'static str {
        match self {
            Self::Low => "huleedu.student.created.v1",
            Self::File | Self::Immediate => self.event_type(),
        }
    }
}

impl Writer {
    /// A writer of events of one kind that happen now.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        let id_prefix = id[..24].to_owned();
        Self { kind, id_prefix, time: Timestamp::now().to_string() }
    }

    /// Replaces `text` by the event with this number, for `user`, with `tag` in it.
    ///
    /// # Panics
    /// Never: formatting into a `String` cannot fail.
    pub fn write(&self, text: &mut String, number: u64, user: &str, tag: &str) {
        let Self { kind, id_prefix, time } = self;
        let event_type = kind.event_type();
        text.clear();
        let head = write!(
            text,
            r#"{{"event_id":"{id_prefix}{number:012x}","event_type":"{event_type}","event_timestamp":"{time}","source_service":"load-tester","schema_version":1,"correlation_id":"5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10","data_schema_uri":null,"data":{{"#
        );
        let data = match kind {
            Kind::File => write!(
                text,
                r#""event":"batch.file.added","batch_id":"{BATCH}","file_upload_id":"f11e0000-0000-4000-8000-000000000001","filename":"{tag}","user_id":"{user}","correlation_id":"5f0c7c3e-8a57-4a43-9f0e-3f2c1f6b7d10","timestamp":"{time}"}},"metadata":{{}}}}"#
            ),
            Kind::Immediate => write!(
                text,
                r#""batch_id":"{BATCH}","error_message":"{tag}","user_id":"{user}","timestamp":"{time}"}},"metadata":{{}}}}"#
            ),
            Kind::Low => write!(
                text,
                r#""student_id":"57de0000-0000-4000-8000-000000000001","first_name":"{tag}","last_name":"L","class_ids":["c1a55000-0000-4000-8000-000000000001"],"user_id":"{user}","timestamp":"{time}"}},"metadata":{{}}}}"#
            ),
        };
        head.and(data).expect("formatting into a String cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn events_have_distinct_ids() {
        for kind in [Kind::File, Kind::Immediate, Kind::Low] {
            let (writer, mut text) = (Writer::new(kind), String::new());
            let mut ids = [1, 2].map(|number| {
                writer.write(&mut text, number, "teacher-42", "load:x:0:0;");
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["data"]["user_id"], "teacher-42");
                event["event_id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap()
            });
            ids.sort_unstable();
            assert_ne!(ids[0], ids[1]);
        }
    }
}
