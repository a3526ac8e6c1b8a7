//! Finds the dead letters of records by their origin.

use std::collections::HashSet;

use rdkafka::message::BorrowedMessage;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    header,
    reader::{Position, Reader, header_value, replayed_position},
};
use crate::config::Config;

/// Where a record was read from: topic, partition, offset.
pub(crate) type Origin = (String, i32, i64);

/// A dead letter of a record.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeadLetterOf {
    /// Its own position, as `dead-letters list` prints it.
    pub(crate) position: String,
    /// The kind of fault.
    pub(crate) reason: String,
    /// The rule that was broken and where.
    pub(crate) detail: String,
    /// Whether the record was sent to its topic again.
    pub(crate) replayed: bool,
    #[serde(skip)]
    origin: Origin,
}

impl DeadLetterOf {
    /// Whether it is a dead letter of the record at `origin`.
    pub(crate) fn is_of(&self, origin: &Origin) -> bool {
        self.origin == *origin
    }

    fn is_of_any(&self, origins: &HashSet<Origin>) -> bool {
        origins.contains(&self.origin)
    }
}

/// Returns the dead letters of records at these origins. Reads the whole dead-letter topic.
///
/// # Errors
/// If the brokers do not answer.
pub(crate) fn find(
    config: &Config,
    origins: &HashSet<Origin>,
    interrupt: CancellationToken,
) -> anyhow::Result<Vec<DeadLetterOf>> {
    if origins.is_empty() {
        return Ok(Vec::new());
    }
    let (mut found, mut replayed) = (Vec::new(), HashSet::new());
    Reader::connect(config, interrupt)?.records.read_all(|record| {
        match replayed_position(record) {
            Some(position) => replayed.extend([position.to_string()]),
            None => found.extend(dead_letter(record).filter(|found| found.is_of_any(origins))),
        }
        Ok(())
    })?;
    for dead_letter in &mut found {
        dead_letter.replayed = replayed.contains(&dead_letter.position);
    }
    Ok(found)
}

/// Returns a dead letter, unless it does not name its origin.
fn dead_letter(record: &BorrowedMessage<'_>) -> Option<DeadLetterOf> {
    let [topic, partition, offset, reason, detail] =
        [header::TOPIC, header::PARTITION, header::OFFSET, header::REASON, header::DETAIL]
            .map(|name| header_value(record, name));
    let origin = (topic, partition.parse().ok()?, offset.parse().ok()?);
    let position = Position::of(record).to_string();
    Some(DeadLetterOf { position, reason, detail, replayed: false, origin })
}
