//! Measures the consumer lag as the brokers see it: end offset minus committed offset. The client's
//! own figures are not updated while partitions are paused, which is when lag matters. Detects
//! stalled and unreadable partitions from the same figures, and topics whose leaders are ignored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaResult};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    fatal::FatalError,
    ignored_leaders::IgnoredLeaders,
    stalled::{Position, StallDetector},
    unreadable::UnreadablePartitions,
};
use crate::{
    config::Config,
    infrastructure::kafka::{consumer::Consumer, offsets::Partition},
};

/// Pause between two measurements.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest wait for one answer of the brokers.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Updates the lag metric of each topic until `stop`. Reports partitions that the client does not
/// read any more as fatal error.
pub(crate) async fn watch(
    consumer: Arc<Consumer>,
    config: Config,
    fatal: FatalError,
    stop: CancellationToken,
) {
    let config = Arc::new(config);
    let mut lag = Lag::default();
    loop {
        let (consumer, config) = (Arc::clone(&consumer), Arc::clone(&config));
        let check = tokio::task::spawn_blocking(move || (lag.check(&consumer, &config), lag));
        let unread;
        (unread, lag) = check.await.unwrap_or_default();
        if let Some(reason) = unread {
            return fatal.report(reason);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(INTERVAL) => {}
        }
    }
}

#[derive(Debug, Default)]
struct Lag {
    ignored: IgnoredLeaders,
    stalled: StallDetector,
    unreadable: UnreadablePartitions,
}

impl Lag {
    /// Blocks for up to three times [`RESPONSE_TIMEOUT`], longer when a partition seems stalled.
    /// Returns why partitions are not read any more that a new client would read.
    fn check(&mut self, consumer: &Consumer, config: &Config) -> Option<String> {
        if let Some(topic) = self.ignored.check(consumer.membership().take_ignored_leaders()) {
            return Some(format!(
                "topic {topic} was created again, and the Kafka client ignores its leaders, which a \
                 new client does not"
            ));
        }
        let partitions = match measure(consumer) {
            Ok(partitions) => partitions,
            // `brokers` reports unreachable brokers; the last figures stay exported.
            Err(error) => {
                debug!(%error, "consumer lag could not be measured");
                return None;
            }
        };
        export(&partitions, consumer);
        if !consumer.membership().is_caught_up() {
            return None;
        }
        let membership = consumer.membership();
        let paused = membership.paused().clone();
        let unread = partitions.into_iter().filter(|offsets| !paused.contains(&offsets.partition));
        let unread: Vec<Position> = unread.filter_map(PartitionOffsets::unread).collect();
        let stalled = self.stalled.check(config, unread.clone());
        let suspects = self.stalled.suspects(membership.take_batch_failed());
        let metrics = membership.metrics();
        self.unreadable.update(config, &unread, suspects, &metrics.unreadable);
        let ((topic, partition), offset) = stalled?;
        Some(format!(
            "partition {topic} [{partition}] is stalled: the Kafka client does not read offset \
             {offset}, a new client does"
        ))
    }
}

fn export(partitions: &[PartitionOffsets], consumer: &Consumer) {
    let mut lags = BTreeMap::new();
    for offsets in partitions {
        *lags.entry(offsets.partition.0.clone()).or_default() += offsets.lag();
    }
    consumer.membership().metrics().lag.replace(&lags);
}

/// The offsets of a partition that determine its lag.
#[derive(Debug)]
struct PartitionOffsets {
    partition: Partition,
    beginning: Option<i64>,
    committed: Option<i64>,
    /// Where this client began to read.
    start: Option<i64>,
    /// The offset after the last record that this client has read.
    next: Option<i64>,
    end: i64,
    /// Whether records were read and are not finished.
    is_in_flight: bool,
    /// Where the client fetches next, if it has no unread records.
    fetch_position: Option<i64>,
}

impl PartitionOffsets {
    /// Returns the number of offsets that are not committed. Without a committed offset it counts
    /// from where the client began to read, or else from the beginning.
    fn lag(&self) -> i64 {
        // Offsets of transaction markers and compacted records are fetched, but never committed.
        let fetched = self.fetch_position.filter(|_| !self.is_in_flight);
        let done = self.committed.or(self.start).or(self.beginning).max(fetched);
        done.map_or(0, |done| (self.end - done).max(0))
    }

    /// Returns the next position to read, if there is more to read.
    fn unread(self) -> Option<Position> {
        let next = self.next.or(self.committed)?.max(self.fetch_position.unwrap_or(0));
        (next < self.end).then_some((self.partition, next))
    }
}

/// Returns the offsets of all assigned partitions; blocks.
fn measure(consumer: &Consumer) -> KafkaResult<Vec<PartitionOffsets>> {
    let client = &consumer.client;
    let assigned = client.assignment()?;
    if assigned.count() == 0 {
        return Ok(Vec::new());
    }
    let at = |position: Offset| {
        let mut list = assigned.clone();
        list.set_all_offsets(position)?;
        // A time of -1 or -2 asks for the end or the beginning.
        client.offsets_for_times(list, RESPONSE_TIMEOUT)
    };
    let next = client.position()?;
    let (ends, beginnings) = (at(Offset::End)?, at(Offset::Beginning)?);
    let committed = client.committed_offsets(assigned.clone(), RESPONSE_TIMEOUT)?;
    // Taken before the offsets: records that are read in between count as in flight.
    let fetch_positions = consumer.membership().fetch_positions();
    let offsets = consumer.membership().offsets();
    let partitions = ends.elements().into_iter().filter_map(|element| {
        let (topic, id) = (element.topic(), element.partition());
        let found = |list: &TopicPartitionList| {
            let offset = list.find_partition(topic, id)?.offset().to_raw()?;
            (offset >= 0).then_some(offset)
        };
        let partition = (topic.to_owned(), id);
        Some(PartitionOffsets {
            beginning: found(&beginnings),
            committed: found(&committed),
            start: offsets.start(topic, id),
            next: found(&next),
            end: found(&ends)?,
            is_in_flight: offsets.is_in_flight(&partition),
            fetch_position: fetch_positions.get(&partition).copied(),
            partition,
        })
    });
    Ok(partitions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(committed: Option<i64>, fetch_position: Option<i64>) -> PartitionOffsets {
        PartitionOffsets {
            partition: ("t".to_owned(), 0),
            beginning: Some(2),
            committed,
            start: None,
            next: committed,
            end: 10,
            is_in_flight: false,
            fetch_position,
        }
    }

    #[test]
    fn transaction_markers_and_compacted_records_at_the_end_are_no_lag() {
        let read = offsets(Some(7), Some(10));
        assert_eq!(read.lag(), 0);
        assert_eq!(read.unread(), None);
        let in_flight = PartitionOffsets { is_in_flight: true, ..offsets(Some(7), Some(10)) };
        assert_eq!(in_flight.lag(), 3, "a record before them is not finished");
    }

    #[test]
    fn records_that_are_not_fetched_are_lag() {
        assert_eq!(offsets(Some(7), Some(8)).lag(), 2);
        assert_eq!(offsets(Some(7), None).lag(), 3);
        assert_eq!(offsets(None, None).lag(), 8, "from the beginning on");
        let at_end = PartitionOffsets { start: Some(9), ..offsets(None, None) };
        assert_eq!(at_end.lag(), 1);
        assert_eq!(offsets(Some(7), Some(8)).unread(), Some((("t".to_owned(), 0), 8)));
    }
}
