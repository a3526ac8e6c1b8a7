//! The command line for the dead-letter topic: look at records that were given up, and send them
//! to their own topics again. Nothing is removed; a replayed event that had been published before
//! is a duplicate, and told to nobody.

use std::{
    collections::HashMap,
    io::{BufRead as _, Write as _},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::{BorrowedMessage, Header, Headers as _, OwnedHeaders},
    metadata::MetadataTopic,
    producer::FutureRecord,
};

use super::producer::{LetterProducer, acknowledged, header, producer};
use crate::{
    config::Config,
    domain::record::DeadLetterReason,
    infrastructure::kafka::client_config::{self, set_properties},
};

/// Longest wait for the brokers.
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);

/// What to do with dead letters.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Tool {
    /// Print where each record came from and why it was given up, never what it says
    List(Selection),
    /// Send records to their original topics again
    Replay {
        #[command(flatten)]
        selection: Selection,
        /// Send without asking
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters; all of them if nothing is said.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Selection {
    /// Only those given up for this reason
    #[arg(long)]
    reason: Option<DeadLetterReason>,
    /// Only the one here, as `list` prints it
    #[arg(long, value_name = "PARTITION:OFFSET")]
    at: Option<Position>,
}

/// A place in the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    partition: i32,
    offset: i64,
}

impl FromStr for Position {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        position.ok_or("a position is PARTITION:OFFSET, as in 0:42")
    }
}

impl Selection {
    fn has(self, letter: &BorrowedMessage<'_>) -> bool {
        let here = Position { partition: letter.partition(), offset: letter.offset() };
        let reason =
            self.reason.is_none_or(|reason| header_value(letter, header::REASON) == reason.label());
        reason && self.at.is_none_or(|at| at == here)
    }
}

impl Tool {
    /// Does it, reading answers from standard input and writing to standard output. Blocks.
    ///
    /// # Errors
    /// When the brokers do not answer, or a record could not be sent.
    pub fn run(&self, config: &Config) -> anyhow::Result<()> {
        match self {
            Self::List(selection) => list(&Reader::connect(config)?, *selection).map(|_| ()),
            Self::Replay { selection, yes } => replay(config, *selection, *yes),
        }
    }
}

/// Prints the selected letters; how many there are.
fn list(reader: &Reader, selection: Selection) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut out = std::io::stdout().lock();
    reader.each(selection, |letter| {
        let (partition, offset) = (letter.partition(), letter.offset());
        let [reason, topic, from_partition, from_offset, written_at, detail] = [
            header::REASON,
            header::TOPIC,
            header::PARTITION,
            header::OFFSET,
            header::TIMESTAMP,
            header::DETAIL,
        ]
        .map(|name| header_value(letter, name));
        count += 1;
        writeln!(
            out,
            "{partition}:{offset}\t{reason}\t{topic}[{from_partition}]@{from_offset}\t{written_at}\t{detail}"
        )?;
        Ok(())
    })?;
    writeln!(out, "{count} dead letters in {}", reader.topic)?;
    Ok(count)
}

fn replay(config: &Config, selection: Selection, yes: bool) -> anyhow::Result<()> {
    let reader = Reader::connect(config)?;
    let count = list(&reader, selection)?;
    if count == 0 || !(yes || confirmed(count)?) {
        return Ok(());
    }
    let producer = producer(config).context("Kafka producer settings")?;
    let (mut sent, mut skipped) = (0, 0);
    reader.each(selection, |letter| {
        if header_value(letter, header::VALUE_OMITTED).is_empty() {
            send_back(&producer, letter)?;
            sent += 1;
        } else {
            skipped += 1;
        }
        Ok(())
    })?;
    println!("{sent} sent to their original topics");
    if skipped > 0 {
        println!("{skipped} left out: too large to be kept here, read them from their own topics");
    }
    Ok(())
}

fn confirmed(count: usize) -> anyhow::Result<bool> {
    print!("Send these {count} records to their original topics again? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Sends one record as it was and waits until it is acknowledged.
fn send_back(producer: &LetterProducer, letter: &BorrowedMessage<'_>) -> anyhow::Result<()> {
    let topic = header_value(letter, header::TOPIC);
    ensure!(!topic.is_empty(), "a record without the header {} has no topic", header::TOPIC);
    let mut headers = OwnedHeaders::new();
    for original in letter.headers().into_iter().flat_map(|headers| headers.iter()) {
        if !original.key.starts_with("dlq.") {
            headers = headers.insert(Header { key: original.key, value: original.value });
        }
    }
    let mut record = FutureRecord::<[u8], [u8]>::to(&topic).headers(headers);
    record.key = letter.key();
    record.payload = letter.payload();
    let delivery = producer.send_result(record).map_err(|(error, _)| error)?;
    tokio::runtime::Handle::current()
        .block_on(acknowledged(delivery))
        .with_context(|| format!("a record could not be sent to {topic}"))
}

/// The text of a header, empty where there is none.
fn header_value(letter: &BorrowedMessage<'_>, name: &str) -> String {
    let headers = letter.headers().into_iter().flat_map(|headers| headers.iter());
    // A record that was dead-lettered twice has each header twice; the last is about this time.
    let value = headers.filter(|header| header.key == name).last().and_then(|header| header.value);
    value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

/// Reads the dead-letter topic as it is now, as often as asked.
struct Reader {
    consumer: BaseConsumer,
    topic: String,
    /// For each partition its first offset and the end of what is read.
    extent: HashMap<i32, (i64, i64)>,
}

impl Reader {
    fn connect(config: &Config) -> anyhow::Result<Self> {
        let mut client = client_config::common(config);
        set_properties(&mut client, config);
        client
            .set("group.id", format!("{}-dead-letters", config.settings.kafka_consumer_group))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        let consumer: BaseConsumer = client.create().context("Kafka consumer settings")?;
        let topic = config.settings.dead_letter_topic.clone();
        let metadata = consumer.fetch_metadata(Some(&topic), BROKER_TIMEOUT);
        let metadata = metadata.context("the Kafka brokers do not answer")?;
        let partitions = metadata.topics().first().map(MetadataTopic::partitions);
        let mut extent = HashMap::new();
        for partition in partitions.unwrap_or_default() {
            let marks = consumer.fetch_watermarks(&topic, partition.id(), BROKER_TIMEOUT)?;
            extent.insert(partition.id(), marks);
        }
        Ok(Self { consumer, topic, extent })
    }

    /// Hands every selected letter to `visit`.
    fn each(
        &self,
        selection: Selection,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut unread: HashMap<i32, i64> = HashMap::new();
        let mut start = TopicPartitionList::new();
        for (partition, (first, end)) in self.extent.iter().filter(|(_, (first, end))| first < end)
        {
            start.add_partition_offset(&self.topic, *partition, Offset::Offset(*first))?;
            unread.insert(*partition, *end);
        }
        self.consumer.assign(&start)?;
        while !unread.is_empty() {
            match self.consumer.poll(BROKER_TIMEOUT) {
                None => bail!("the Kafka brokers do not answer"),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unread.remove(&partition);
                }
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(letter)) => {
                    let Some(end) = unread.get(&letter.partition()).copied() else { continue };
                    if letter.offset() < end && selection.has(&letter) {
                        visit(&letter)?;
                    }
                    if letter.offset() + 1 >= end {
                        unread.remove(&letter.partition());
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_a_partition_and_an_offset() {
        assert_eq!("3:42".parse(), Ok(Position { partition: 3, offset: 42 }));
        for bad in ["", "42", "a:b", "1:2:3", "-"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }
}
