//! Headers that the worker adds to a dead letter.

/// The kind of fault.
pub(crate) const REASON: &str = "dlq.reason";
/// The rule that was broken and where.
pub(crate) const DETAIL: &str = "dlq.detail";
/// The record's original topic.
pub(crate) const TOPIC: &str = "dlq.topic";
/// The record's partition in its topic.
pub(crate) const PARTITION: &str = "dlq.partition";
/// The record's offset in its topic.
pub(crate) const OFFSET: &str = "dlq.offset";
/// The record's timestamp, RFC 3339.
pub(crate) const TIMESTAMP: &str = "dlq.timestamp";
/// The worker that wrote the dead letter.
pub(crate) const WORKER: &str = "dlq.worker";
/// Present if the dead letter lacks the value, which was too large: only the original topic has it.
pub(crate) const VALUE_OMITTED: &str = "dlq.value_omitted";
/// Present if the dead letter lacks the record's headers, which were too large.
pub(crate) const HEADERS_OMITTED: &str = "dlq.headers_omitted";
/// Present if the record has no key, or one that was too large; the dead letter's key is its
/// origin.
pub(crate) const KEY_OMITTED: &str = "dlq.key_omitted";
/// The record's key, in a dead letter whose own key is its origin: in a compacted topic, a later
/// one with the same key would replace it.
pub(crate) const KEY: &str = "dlq.key";
/// Present if the record has no value and the dead letter's is empty: in a compacted topic, one
/// without a value would be a tombstone.
pub(crate) const VALUE_NULL: &str = "dlq.value_null";
/// In a dead letter of skipped records: the offset after the last one.
pub(crate) const SKIPPED_TO: &str = "dlq.skipped_to";
/// The number of headers that the dead letter lacks because they were not read: their names are not
/// UTF-8, or the record has too many.
pub(crate) const HEADERS_UNREADABLE: &str = "dlq.headers_unreadable";
/// Present in a record that is no dead letter but notes that one was replayed: `PARTITION:OFFSET`.
pub(crate) const REPLAYED: &str = "dlq.replayed";
/// The prefix of all of them.
pub(crate) const PREFIX: &str = "dlq.";
