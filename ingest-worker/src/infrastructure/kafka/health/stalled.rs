//! Finds partitions that the client has silently stopped reading. librdkafka 2.12 can, when a
//! partition changes its leader twice within a moment: it goes on asking a broker that is none
//! (<https://github.com/confluentinc/librdkafka/pull/5593>).

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

/// After how many looks without progress a partition is tried with a new client for the first time.
/// It is tried again after twice as many, as what follows may be a transaction's marker alone.
const STILL: u32 = 4;

/// Longest wait for a new client to read what this one does not.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// A partition and an offset in it.
pub(crate) type Place = (Partition, i64);

/// Where the client stands in the partitions that have more, and for how many looks.
#[derive(Debug, Default)]
pub(crate) struct Stalled {
    looks: BTreeMap<Partition, (i64, u32)>,
    /// A record that a new client has read.
    read_elsewhere: Option<Place>,
}

impl Stalled {
    /// Takes in the partitions that have more, each with the offset that is next. Returns a record
    /// that the client does not read although a new one has. Blocks while a new one tries.
    pub(crate) fn look(&mut self, config: &Config, behind: Vec<Place>) -> Option<Place> {
        self.note(behind);
        // It may have been written just then, and this client has read it as well by now.
        let read = self.read_elsewhere.take().filter(|place| self.has_not_read(place));
        let due = self.due();
        if read.is_some() || due.is_empty() {
            return read;
        }
        self.read_elsewhere = readable(config, &due, READ_WITHIN)
            .inspect_err(|error| debug!(%error, "no new client"))
            .unwrap_or_default();
        None
    }

    fn note(&mut self, behind: Vec<Place>) {
        let before = std::mem::take(&mut self.looks);
        let still = |partition: &Partition, next| {
            before.get(partition).filter(|(at, _)| *at == next).map_or(0, |(_, looks)| *looks)
        };
        for (partition, next) in behind {
            let looks = still(&partition, next) + 1;
            self.looks.insert(partition, (next, looks));
        }
    }

    /// Where to try a new client.
    fn due(&self) -> Vec<Place> {
        let due = |looks: u32| looks >= STILL && looks.is_power_of_two();
        let due = self.looks.iter().filter(|(_, (_, looks))| due(*looks));
        due.map(|(partition, (next, _))| (partition.clone(), *next)).collect()
    }

    fn has_not_read(&self, (partition, offset): &Place) -> bool {
        self.looks.get(partition).is_some_and(|(next, looks)| *looks > STILL && next <= offset)
    }
}

/// A record at or behind one of these places that a new client reads, which may take it so long;
/// blocks.
fn readable(config: &Config, places: &[Place], within: Duration) -> KafkaResult<Option<Place>> {
    let client = brokers::new_client(config)?;
    let mut list = TopicPartitionList::with_capacity(places.len());
    for ((topic, partition), next) in places {
        list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
    }
    client.assign(&list)?;
    let deadline = Instant::now() + within;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        // Errors are those of connecting; it goes on trying.
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

    fn at(partition: i32, next: i64) -> Place {
        (("t".to_owned(), partition), next)
    }

    fn due_after(stalled: &mut Stalled, behind: Vec<Place>) -> Vec<Place> {
        stalled.note(behind);
        stalled.due()
    }

    #[test]
    fn a_partition_that_stands_still_is_tried_after_some_looks_and_then_ever_less_often() {
        let mut stalled = Stalled::default();
        let tried: Vec<u32> =
            (1..=40).filter(|_| due_after(&mut stalled, vec![at(0, 5)]) == [at(0, 5)]).collect();
        assert_eq!(tried, [4, 8, 16, 32]);
    }

    #[test]
    fn one_that_moves_or_has_been_read_to_its_end_begins_anew() {
        let mut stalled = Stalled::default();
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
    fn a_new_client_reads_what_there_is_behind_the_first_place_that_has_something() {
        let cluster = MockCluster::new(1).expect("a broker");
        cluster.create_topic("t", 2, 1).expect("a topic");
        let servers = cluster.bootstrap_servers();
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &servers).create().expect("a producer");
        for _ in 0..3 {
            let record = BaseRecord::<str, str>::to("t").partition(1).payload("p");
            producer.send(record).expect("there is room");
        }
        producer.flush(LIMIT).expect("it is written");
        let arguments = ["ingest-worker", "--kafka-bootstrap-servers", &servers];
        let (config, _) =
            config::read::<Config, _, _>(command(), arguments).expect("it is complete");
        let found = readable(&config, &[at(0, 0), at(1, 2)], LIMIT).expect("a client");
        assert_eq!(found, Some(at(1, 2)));
        let found = readable(&config, &[at(0, 0), at(1, 3)], Duration::from_millis(500));
        assert_eq!(found.expect("a client"), None);
    }
}
