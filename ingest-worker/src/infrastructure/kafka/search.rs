//! Searches the consumed topics for records, for operators. Joins no group and commits nothing.

use std::collections::{BTreeSet, HashMap};

use anyhow::Context as _;
use rdkafka::{
    Message as _, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
    message::BorrowedMessage,
};
use shared::time::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    client_config,
    client_context::CommandContext,
    dead_letters::origin::Origin,
    headers,
    offsets::Partition,
    record,
    topic_reader::{BROKER_TIMEOUT, TopicReader},
};
use crate::{
    config::Config,
    domain::{
        classify::{self, Classifier},
        preview::{EventIdTexts, Preview},
    },
};

/// The maximum number of records of a topic that are classified: the memory of a command is
/// bounded.
const MAX_FOUND: usize = 10_000;

/// A record and what the worker makes of it.
#[derive(Debug)]
pub(crate) struct FoundRecord {
    /// Where it is.
    pub(crate) origin: Origin,
    /// Its timestamp.
    pub(crate) written_at: Option<Timestamp>,
    /// The offset from which the group reads its partition; none if it has none.
    pub(crate) committed: Option<i64>,
    /// What processing it does.
    pub(crate) preview: Preview,
}

impl FoundRecord {
    /// Whether the group has committed an offset behind it.
    pub(crate) fn is_finished(&self) -> bool {
        self.committed.is_some_and(|committed| self.origin.2 < committed)
    }
}

/// The search.
pub(crate) struct Search {
    reader: TopicReader,
    /// The offsets that the group has committed.
    committed: HashMap<Partition, i64>,
    classifier: Classifier,
}

impl Search {
    /// Connects to the brokers.
    ///
    /// # Errors
    /// If they do not answer.
    pub(crate) fn connect(
        config: &Config,
        topics: &BTreeSet<String>,
        classifier: Classifier,
        interrupt: CancellationToken,
    ) -> anyhow::Result<Self> {
        let topics = topics.iter().map(String::as_str);
        let reader = TopicReader::connect(config, topics, interrupt)?;
        let committed = committed(config, reader.partitions());
        let committed = committed.context("the brokers give no committed offsets")?;
        Ok(Self { reader, committed, classifier })
    }

    /// Returns the records of an event that were written since a time.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn event(
        mut self,
        event: Uuid,
        since: Timestamp,
    ) -> anyhow::Result<Vec<FoundRecord>> {
        let (mut found, texts) = (Vec::new(), EventIdTexts::of(event));
        self.reader.skip_older(since)?;
        self.reader.read_all(|message| {
            if is_of(message, event, &texts) {
                found.push(self.classify(message));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the records that the group has read but not finished, or not read yet, up to
    /// [`MAX_FOUND`] of each topic.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn unfinished(mut self) -> anyhow::Result<Vec<FoundRecord>> {
        let (mut found, mut counts) = (Vec::new(), HashMap::<String, usize>::new());
        self.reader.skip_before(&self.committed);
        self.reader.read_all(|message| {
            let count = counts.entry(message.topic().to_owned()).or_default();
            *count += 1;
            if *count <= MAX_FOUND {
                found.push(self.classify(message));
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn classify(&self, message: &BorrowedMessage<'_>) -> FoundRecord {
        let index = headers::HeaderIndex::of(message.headers());
        let record = || record::record(message, &index);
        let classification = self.classifier.classify_caught(record, Timestamp::now());
        let partition = (message.topic().to_owned(), message.partition());
        let committed = self.committed.get(&partition).copied();
        FoundRecord {
            origin: (partition.0, partition.1, message.offset()),
            written_at: record::written_at(message),
            committed,
            preview: classification.preview(),
        }
    }
}

/// Returns the offsets that the group has committed.
fn committed(config: &Config, list: TopicPartitionList) -> KafkaResult<HashMap<Partition, i64>> {
    let group = client_config::without_membership(config);
    let group: BaseConsumer<_> = group.create_with_context(CommandContext::default())?;
    if list.count() == 0 {
        return Ok(HashMap::new());
    }
    let committed = group.committed_offsets(list, BROKER_TIMEOUT)?;
    let elements = committed.elements().into_iter();
    let known = elements.filter_map(|element| {
        let offset = element.offset().to_raw().filter(|offset| *offset >= 0)?;
        Some(((element.topic().to_owned(), element.partition()), offset))
    });
    Ok(known.collect())
}

/// Whether a record is of the event, by its header or by the text of its value.
fn is_of(message: &BorrowedMessage<'_>, event: Uuid, texts: &EventIdTexts) -> bool {
    let index = headers::HeaderIndex::of(message.headers());
    let by_header = headers::text_at(message.headers(), index.event_id);
    is_named(by_header, message.payload(), event, texts)
}

/// As the classifier reads it, a header that is no event id leaves it to the value.
fn is_named(
    by_header: Option<&str>,
    value: Option<&[u8]>,
    event: Uuid,
    texts: &EventIdTexts,
) -> bool {
    match classify::event_id(by_header) {
        Some(id) => id == event,
        None => value.is_some_and(|value| texts.are_in(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_no_event_id_does_not_hide_the_one_in_the_value() {
        let event = Uuid::new_v4();
        let texts = EventIdTexts::of(event);
        let value = format!(r#"{{"event_id":"{event}"}}"#).into_bytes();
        let is_of = |header: &str| is_named(Some(header), Some(&value), event, &texts);
        assert!(is_of(&event.to_string()) && is_of(&Uuid::nil().to_string()) && is_of("none"));
        assert!(!is_of(&Uuid::new_v4().to_string()));
        assert!(
            is_named(None, Some(&value), event, &texts) && !is_named(None, None, event, &texts)
        );
    }
}
