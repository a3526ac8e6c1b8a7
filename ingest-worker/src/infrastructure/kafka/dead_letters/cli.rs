//! The commands for the dead-letter topic: list its dead letters, or send records to their original
//! topics again. Nothing is removed; what was replayed is noted in the topic itself.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write as _},
    thread,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use rdkafka::{
    Message as _,
    error::KafkaError,
    message::{BorrowedMessage, Header, OwnedHeaders},
    producer::FutureRecord,
    types::RDKafkaErrorCode,
};
use shared::audit;
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    header,
    reader::{Position, Reader, header_value},
    replaceable::ReplaceableProducer,
};
use crate::{
    config::Config,
    domain::record::DeadLetterReason,
    infrastructure::kafka::{client_config, headers},
};

/// A command for the dead-letter topic.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum DeadLettersCommand {
    /// Print the origin and the reason of each dead letter, never its content
    List(Selection),
    /// Send the records of dead letters to their original topics again, each once
    Replay(Replay),
}

/// Which dead letters to replay, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    selection: Selection,
    /// Replay without confirmation
    #[arg(long)]
    yes: bool,
    /// Replay dead letters that were replayed before as well
    #[arg(long)]
    again: bool,
    /// Print what would be replayed and stop
    #[arg(long)]
    dry_run: bool,
}

/// Which dead letters; without an option all of them.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Selection {
    /// Only dead letters with this reason
    #[arg(long)]
    reason: Option<DeadLetterReason>,
    /// Only the dead letter at this position, as `list` prints it
    #[arg(long, value_name = "PARTITION:OFFSET")]
    at: Option<Position>,
}

impl Selection {
    fn contains(self, dead_letter: &BorrowedMessage<'_>) -> bool {
        let has_reason =
            |reason: DeadLetterReason| header_value(dead_letter, header::REASON) == reason.label();
        self.reason.is_none_or(has_reason)
            && self.at.is_none_or(|at| at == Position::of(dead_letter))
    }
}

impl DeadLettersCommand {
    /// Runs the command until `interrupt`, with standard input and output. Blocks.
    ///
    /// # Errors
    /// When the brokers do not answer, a record could not be sent, or the command was interrupted.
    /// A record that cannot be sent does not keep the others from being sent.
    pub(crate) fn run(&self, config: &Config, interrupt: &CancellationToken) -> anyhow::Result<()> {
        let reader = Reader::connect(config, interrupt.clone())?;
        let replayed = reader.replayed()?;
        match self {
            Self::List(selection) => {
                list(&reader, *selection, &replayed, true)?;
                Ok(())
            }
            Self::Replay(replay) => replay.run(config, &reader, &replayed, interrupt),
        }
    }
}

/// Prints the selected dead letters; returns how many there are. Those that were replayed are
/// printed with a note, or left out.
fn list(
    reader: &Reader,
    selection: Selection,
    replayed: &HashSet<Position>,
    with_replayed: bool,
) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut out = io::stdout().lock();
    reader.for_each_dead_letter(|dead_letter| {
        let position = Position::of(dead_letter);
        let was_replayed = replayed.contains(&position);
        if !selection.contains(dead_letter) || (was_replayed && !with_replayed) {
            return Ok(());
        }
        let [reason, topic, partition, offset, written_at, detail] = [
            header::REASON,
            header::TOPIC,
            header::PARTITION,
            header::OFFSET,
            header::TIMESTAMP,
            header::DETAIL,
        ]
        .map(|name| header_value(dead_letter, name));
        let note = if was_replayed { "\treplayed" } else { "" };
        count += 1;
        writeln!(
            out,
            "{position}\t{reason}\t{topic}[{partition}]@{offset}\t{written_at}\t{detail}{note}"
        )?;
        Ok(())
    })?;
    let is_missing = reader.records.partitions().count() == 0;
    let note = if is_missing { ", which does not exist" } else { "" };
    writeln!(out, "{count} dead letters in {}{note}", reader.topic)?;
    Ok(count)
}

impl Replay {
    fn run(
        &self,
        config: &Config,
        reader: &Reader,
        replayed: &HashSet<Position>,
        interrupt: &CancellationToken,
    ) -> anyhow::Result<()> {
        let count = list(reader, self.selection, replayed, self.again)?;
        if let Some(at) = self.selection.at.filter(|_| count == 0) {
            let hint =
                if replayed.contains(&at) { "; it was replayed before, see --again" } else { "" };
            bail!("no such dead letter at {at} to replay{hint}");
        }
        if count == 0 || self.dry_run || !(self.yes || is_confirmed(count, interrupt)?) {
            return Ok(());
        }
        let producer = ReplaceableProducer::new(client_config::producer(config));
        let producer = producer.context("Kafka producer settings")?;
        let mut sender = Sender { producer, reader, topics: HashMap::new() };
        let (mut sent, mut skipped, mut failed) = (0, 0, 0);
        let result = reader.for_each_dead_letter(|dead_letter| {
            let position = Position::of(dead_letter);
            let was_replayed = replayed.contains(&position);
            if !self.selection.contains(dead_letter) || (was_replayed && !self.again) {
                return Ok(());
            }
            if !header_value(dead_letter, header::VALUE_OMITTED).is_empty() {
                skipped += 1;
            } else if let Err(error) = sender.send_to_original_topic(dead_letter) {
                eprintln!("{position}: {error:#}");
                failed += 1;
            } else {
                sender.note_replayed(position)?;
                sent += 1;
            }
            Ok(())
        });
        log_replay(&reader.topic, sent, skipped, failed);
        println!("{sent} sent to their original topics");
        if skipped > 0 {
            println!("{skipped} skipped: the dead-letter topic does not have their values");
        }
        result?;
        ensure!(failed == 0, "{failed} could not be sent, for the reasons above");
        Ok(())
    }
}

fn log_replay(topic: &str, sent: usize, skipped: usize, failed: usize) {
    info!(
        target: audit::TARGET,
        by = audit::caller(),
        kafka.topic = topic,
        sent,
        skipped,
        failed,
        "dead letters replayed by operator"
    );
}

fn is_confirmed(count: usize, interrupt: &CancellationToken) -> anyhow::Result<bool> {
    print!("Send these {count} records to their original topics again? [y/N] ");
    io::stdout().flush()?;
    let read = || {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    };
    Ok(matches!(answer(read, interrupt)?.trim(), "y" | "Y" | "yes"))
}

/// Returns what `read` returns, unless `interrupt` comes first: only the end of the process ends a
/// read from a terminal.
fn answer(
    read: impl FnOnce() -> io::Result<String> + Send + 'static,
    interrupt: &CancellationToken,
) -> anyhow::Result<String> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || sender.send(read()));
    let answer = Handle::current().block_on(interrupt.run_until_cancelled(receiver));
    Ok(answer.context("interrupted")???)
}

/// Sends records to their original topics.
struct Sender<'r> {
    producer: ReplaceableProducer,
    reader: &'r Reader,
    /// The topics that were used, with the cause for those that take no records: each such topic
    /// costs one time limit, not one per record.
    topics: HashMap<String, Option<String>>,
}

impl Sender<'_> {
    /// Sends the original record of a dead letter and waits until it is acknowledged.
    fn send_to_original_topic(&mut self, dead_letter: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        let topic = header_value(dead_letter, header::TOPIC);
        ensure!(
            !topic.is_empty(),
            "has no header {}: it is no dead letter, or has more headers than can be read",
            header::TOPIC
        );
        let failure = self.topics.entry(topic.clone());
        if let Some(cause) = failure.or_insert_with(|| self.reader.records.topic_failure(&topic)) {
            bail!("no record can be sent to {topic}: {cause}");
        }
        let mut headers = OwnedHeaders::new();
        for original in headers::readable(dead_letter.headers()) {
            if !original.key.starts_with(header::PREFIX) {
                headers = headers.insert(original);
            }
        }
        let has = |name| !header_value(dead_letter, name).is_empty();
        let key = headers::added(dead_letter.headers(), header::KEY)
            .or_else(|| dead_letter.key().filter(|_| !has(header::KEY_OMITTED)));
        let value = dead_letter.payload().filter(|_| !has(header::VALUE_NULL));
        self.send(&topic, key, value, &headers).map_err(|error| {
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut) {
                self.topics.insert(topic.clone(), Some(error.to_string()));
            }
            anyhow!("the record could not be sent to {topic}: {error}")
        })
    }

    /// Notes in the dead-letter topic that a dead letter was replayed. In a compacted topic, a note
    /// without a value would be a tombstone.
    fn note_replayed(&self, position: Position) -> anyhow::Result<()> {
        let (text, key) = (position.to_string(), format!("replayed:{position}"));
        let note = Header { key: header::REPLAYED, value: Some(&text) };
        let headers = OwnedHeaders::new().insert(note);
        let topic = &self.reader.topic;
        self.send(topic, Some(key.as_bytes()), Some(text.as_bytes()), &headers)
            .context("the replay could not be noted in the dead-letter topic")
    }

    /// Sends a record and waits until it is acknowledged.
    fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &OwnedHeaders,
    ) -> Result<(), KafkaError> {
        let record = || {
            let mut record = FutureRecord::to(topic).headers(headers.clone());
            (record.key, record.payload) = (key, value);
            record
        };
        Handle::current().block_on(self.producer.send(record)).map_err(|(error, _)| error)
    }
}

#[cfg(test)]
mod tests;
