//! Records as the client library returns them.

use ingest_worker::worker::pipeline::Partition;
use rdkafka::{Timestamp, message::OwnedMessage};

use crate::simulation::START_MS;

/// A record that was written when the simulation began.
pub(super) fn new(
    (topic, partition): &Partition,
    offset: i64,
    value: Vec<u8>,
    key_bytes: usize,
) -> OwnedMessage {
    let written_at = Timestamp::CreateTime(i64::try_from(START_MS).unwrap_or(0));
    OwnedMessage::new(
        Some(value),
        Some(vec![0; key_bytes]),
        topic.clone(),
        written_at,
        *partition,
        offset,
        None,
    )
}
