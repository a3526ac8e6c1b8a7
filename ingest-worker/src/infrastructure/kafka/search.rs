//! Searches the consumed topics for records, for operators. Joins no group and commits nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use anyhow::Context as _;
use rdkafka::{
    Message as _, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::BorrowedMessage,
};
use shared::time::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    client_config,
    client_context::CommandContext,
    dead_letters::{
        origin::{self, DeadLetterOf, Origin},
        reader::Reader,
    },
    headers, record,
};
use crate::{
    config::Config,
    domain::{
        classify::Classifier,
        preview::{EventIdTexts, Preview},
    },
};

/// Time limit for the brokers to return committed offsets.
const BROKER_TIMEOUT: Duration = Duration::from_secs(8);

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
    reader: Reader,
    group: BaseConsumer<CommandContext>,
    topics: BTreeSet<String>,
    classifier: Classifier,
}

impl Search {
    /// Connects to the brokers.
    ///
    /// # Errors
    /// If they do not answer.
    pub(crate) fn connect(
        config: &Config,
        topics: BTreeSet<String>,
        classifier: Classifier,
        interrupt: CancellationToken,
    ) -> anyhow::Result<Self> {
        let group = client_config::without_membership(config).create_with_context(CommandContext);
        let group = group.context("Kafka consumer settings")?;
        let reader = Reader::connect(config, interrupt)?;
        Ok(Self { reader, group, topics, classifier })
    }

    /// Returns the dead letters of records. Reads all of the dead-letter topic.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn dead_letters(
        &mut self,
        topic: &str,
        records: &[FoundRecord],
    ) -> anyhow::Result<Vec<DeadLetterOf>> {
        let origins: HashSet<Origin> = records.iter().map(|found| found.origin.clone()).collect();
        self.reader.turn_to(topic)?;
        origin::find(&self.reader, &origins)
    }

    /// Returns the records of an event that were written since a time.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn event(
        &mut self,
        event: Uuid,
        since: Timestamp,
    ) -> anyhow::Result<Vec<FoundRecord>> {
        let (mut found, texts) = (Vec::new(), EventIdTexts::of(event));
        for topic in self.topics.clone() {
            self.reader.turn_to(&topic)?;
            self.reader.skip_older(since)?;
            let committed = self.committed(&topic)?;
            self.reader.read_all(|message| {
                if is_of(message, event, &texts) {
                    found.push(self.classify(message, &committed));
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Returns the records that the group has read but not finished, or not read yet, up to
    /// [`MAX_FOUND`] of each topic.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn unfinished(&mut self) -> anyhow::Result<Vec<FoundRecord>> {
        let mut found = Vec::new();
        for topic in self.topics.clone() {
            self.reader.turn_to(&topic)?;
            let committed = self.committed(&topic)?;
            self.reader.skip_before(&committed);
            let before = found.len();
            self.reader.read_all(|message| {
                if found.len() - before < MAX_FOUND {
                    found.push(self.classify(message, &committed));
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    fn committed(&self, topic: &str) -> anyhow::Result<HashMap<i32, i64>> {
        let mut list = TopicPartitionList::new();
        for partition in self.reader.partitions() {
            list.add_partition(topic, partition);
        }
        if list.count() == 0 {
            return Ok(HashMap::new());
        }
        let committed = self.group.committed_offsets(list, BROKER_TIMEOUT);
        let committed = committed.context("the brokers give no committed offsets")?;
        let offset = |offset: rdkafka::Offset| offset.to_raw().filter(|offset| *offset >= 0);
        let elements = committed.elements();
        let known = elements.iter().filter_map(|e| Some((e.partition(), offset(e.offset())?)));
        Ok(known.collect())
    }

    fn classify(
        &self,
        message: &BorrowedMessage<'_>,
        committed: &HashMap<i32, i64>,
    ) -> FoundRecord {
        let index = headers::HeaderIndex::of(message.headers());
        let record = || record::record(message, &index);
        let classification = self.classifier.classify_caught(record, Timestamp::now());
        FoundRecord {
            origin: (message.topic().to_owned(), message.partition(), message.offset()),
            written_at: record::written_at(message),
            committed: committed.get(&message.partition()).copied(),
            preview: classification.preview(),
        }
    }
}

/// Whether a record is of the event, by its header or by the text of its value.
fn is_of(message: &BorrowedMessage<'_>, event: Uuid, texts: &EventIdTexts) -> bool {
    let index = headers::HeaderIndex::of(message.headers());
    let by_header = headers::text_at(message.headers(), index.event_id);
    match by_header.and_then(|text| Uuid::try_parse(text).ok()) {
        Some(id) => id == event,
        None => message.payload().is_some_and(|value| texts.are_in(value)),
    }
}
