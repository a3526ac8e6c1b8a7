//! Finds the dead letters of records by their origin.

use std::collections::HashSet;

use serde::Serialize;

use super::{
    header,
    reader::{Position, Reader, header_value},
};

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
}

/// Returns the dead letters of records at these origins. Reads the whole dead-letter topic.
///
/// # Errors
/// If the brokers do not answer.
pub(crate) fn find(
    reader: &Reader,
    origins: &HashSet<Origin>,
) -> anyhow::Result<Vec<DeadLetterOf>> {
    let mut found = Vec::new();
    if origins.is_empty() {
        return Ok(found);
    }
    let replayed = reader.replayed()?;
    reader.for_each_dead_letter(|dead_letter| {
        let [topic, partition, offset, reason, detail] =
            [header::TOPIC, header::PARTITION, header::OFFSET, header::REASON, header::DETAIL]
                .map(|name| header_value(dead_letter, name));
        let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
            return Ok(());
        };
        let origin = (topic, partition, offset);
        if origins.contains(&origin) {
            let position = Position::of(dead_letter);
            let replayed = replayed.contains(&position);
            let position = position.to_string();
            found.push(DeadLetterOf { position, reason, detail, replayed, origin });
        }
        Ok(())
    })?;
    Ok(found)
}
