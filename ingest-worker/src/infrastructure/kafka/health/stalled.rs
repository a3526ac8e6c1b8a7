//! Detects partitions that the client has silently stopped reading. librdkafka 2.12 does so when a
//! partition changes its leader twice in quick succession: it keeps fetching from a broker that no
//! longer exists (<https://github.com/confluentinc/librdkafka/pull/5593>).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    Message as _, Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaResult,
};
use tracing::debug;

use super::brokers;
use crate::{config::Config, infrastructure::kafka::offsets::Partition};

/// Checks without progress after which a new client first tries to read the partition. It tries
/// again after twice as many, since only a transaction marker may follow.
const CHECKS_BEFORE_PROBE: u32 = 4;

/// Longest wait for a new client to read a record.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A partition and an offset in it.
pub(crate) type Position = (Partition, i64);

/// The positions of partitions with unread records, and for how many checks each is unchanged.
#[derive(Debug, Default)]
pub(crate) struct StallDetector {
    unchanged: BTreeMap<Partition, (i64, u32)>,
    /// A record that a new client has read.
    read_by_probe: Option<Position>,
}

impl StallDetector {
    /// Takes the next position of every partition with unread records. Returns a record that a new
    /// client has read and this one has not. Blocks while a new client tries.
    pub(crate) fn check(&mut self, config: &Config, behind: Vec<Position>) -> Option<Position> {
        self.note(behind);
        // The record may have been written just then, and this client has read it since.
        let read = self.read_by_probe.take().filter(|position| self.has_not_read(position));
        let due = self.due();
        if read.is_some() || due.is_empty() {
            return read;
        }
        self.read_by_probe = first_readable(config, &due, PROBE_TIMEOUT)
            .inspect_err(|error| debug!(%error, "new Kafka client could not be created"))
            .unwrap_or_default();
        None
    }

    /// Returns the positions that may be those of batches which the client cannot read.
    pub(crate) fn suspects(&self, batch_failed: bool) -> Vec<Position> {
        if batch_failed { self.unchanged_for(|checks| checks > 1) } else { self.due() }
    }

    fn note(&mut self, behind: Vec<Position>) {
        let before = std::mem::take(&mut self.unchanged);
        let checks = |partition: &Partition, next| {
            before.get(partition).filter(|(at, _)| *at == next).map_or(0, |(_, checks)| *checks)
        };
        for (partition, next) in behind {
            let checks = checks(&partition, next) + 1;
            self.unchanged.insert(partition, (next, checks));
        }
    }

    /// Returns the positions that a new client should try to read now.
    fn due(&self) -> Vec<Position> {
        self.unchanged_for(|checks| checks >= CHECKS_BEFORE_PROBE && checks.is_power_of_two())
    }

    fn unchanged_for(&self, is_selected: impl Fn(u32) -> bool) -> Vec<Position> {
        let selected = self.unchanged.iter().filter(|(_, (_, checks))| is_selected(*checks));
        selected.map(|(partition, (next, _))| (partition.clone(), *next)).collect()
    }

    fn has_not_read(&self, (partition, offset): &Position) -> bool {
        let unchanged = self.unchanged.get(partition);
        unchanged.is_some_and(|(next, checks)| *checks > CHECKS_BEFORE_PROBE && next <= offset)
    }
}

/// Returns the first record at or after one of `positions` that a new client reads within
/// `timeout`; blocks.
fn first_readable(
    config: &Config,
    positions: &[Position],
    timeout: Duration,
) -> KafkaResult<Option<Position>> {
    let client = brokers::new_client(config)?;
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for ((topic, partition), next) in positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
    }
    client.assign(&list)?;
    let deadline = Instant::now() + timeout;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        // Connection errors are retried by the client.
        if let Some(Ok(record)) = client.poll(left) {
            let partition = (record.topic().to_owned(), record.partition());
            return Ok(Some((partition, record.offset())));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        ClientConfig,
        mocking::MockCluster,
        producer::{BaseProducer, BaseRecord, Producer as _},
    };
    use shared::config;

    use super::*;
    use crate::config::command;

    const LIMIT: Duration = Duration::from_secs(30);

    fn at(partition: i32, next: i64) -> Position {
        (("t".to_owned(), partition), next)
    }

    fn due_after(stalled: &mut StallDetector, behind: Vec<Position>) -> Vec<Position> {
        stalled.note(behind);
        stalled.due()
    }

    #[test]
    fn a_partition_without_progress_is_probed_after_4_checks_and_then_ever_less_often() {
        let mut stalled = StallDetector::default();
        let tried: Vec<u32> =
            (1..=40).filter(|_| due_after(&mut stalled, vec![at(0, 5)]) == [at(0, 5)]).collect();
        assert_eq!(tried, [4, 8, 16, 32]);
    }

    #[test]
    fn a_failed_batch_makes_every_position_suspect_that_has_not_changed() {
        let mut stalled = StallDetector::default();
        stalled.note(vec![at(0, 5), at(1, 5)]);
        assert!(stalled.suspects(true).is_empty());
        stalled.note(vec![at(0, 5), at(1, 6)]);
        assert_eq!(stalled.suspects(true), [at(0, 5)]);
        assert!(stalled.suspects(false).is_empty());
    }

    #[test]
    fn progress_or_reaching_the_end_resets_the_count() {
        let mut stalled = StallDetector::default();
        for next in 0..10 {
            assert!(
                due_after(&mut stalled, vec![at(0, next), at(1, 7)]).iter().all(|(p, _)| p.1 == 1)
            );
        }
        assert!(!stalled.has_not_read(&at(0, 9)));
        assert!(stalled.has_not_read(&at(1, 7)) && !stalled.has_not_read(&at(1, 6)));
        for _ in 0..3 {
            assert!(due_after(&mut stalled, vec![at(1, 8)]).is_empty());
        }
        assert!(due_after(&mut stalled, Vec::new()).is_empty());
        assert!(due_after(&mut stalled, vec![at(1, 8)]).is_empty());
    }

    #[test]
    fn a_new_client_reads_the_first_record_after_one_of_the_positions() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", 2, 1).expect("a topic");
        let servers = cluster.bootstrap_servers();
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &servers).create().expect("a producer");
        for _ in 0..3 {
            let record = BaseRecord::<str, str>::to("t").partition(1).payload("p");
            producer.send(record).expect("the queue has room");
        }
        producer.flush(LIMIT).expect("the records are acknowledged");
        let arguments = ["ingest-worker", "--kafka-bootstrap-servers", &servers];
        let (config, _) =
            config::read::<Config, _, _>(command(), arguments).expect("the settings are complete");
        let found = first_readable(&config, &[at(0, 0), at(1, 2)], LIMIT).expect("a client");
        assert_eq!(found, Some(at(1, 2)));
        let found = first_readable(&config, &[at(0, 0), at(1, 3)], Duration::from_millis(500));
        assert_eq!(found.expect("a client"), None);
    }
}
