//! How far the group is behind, as the brokers know it: what is written less what is committed.
//! The client's own figures stand still while its partitions are paused, which is when it matters,
//! and when it has stopped reading one, which is found here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaResult};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    kafka::Consumer,
    lost::Lost,
    offsets::Partition,
    stalled::{self, Stalled},
};
use crate::config::Config;

/// How old the figures may be.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest wait for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Longest wait for a new client to read what this one does not.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Keeps the lag of each topic in the metrics until `stop`. Reports a partition that the client has
/// stopped reading.
pub async fn watch(consumer: Arc<Consumer>, config: Config, lost: Lost, stop: CancellationToken) {
    let (told, stalled) = (BTreeMap::new(), Stalled::default());
    let mut watched = Watched { consumer, config, told, stalled, read_elsewhere: None };
    loop {
        let looked = tokio::task::spawn_blocking(move || (watched.look(), watched));
        let Ok((stalled, again)) = looked.await else { return };
        if let Some(((topic, partition), offset)) = stalled {
            return lost.report(format!(
                "the Kafka client has stopped reading {topic} [{partition}] at offset {offset}, \
                 which a new one reads"
            ));
        }
        watched = again;
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(INTERVAL) => {}
        }
    }
}

struct Watched {
    consumer: Arc<Consumer>,
    config: Config,
    /// What was told last; a topic that is no longer assigned is taken out.
    told: BTreeMap<String, i64>,
    stalled: Stalled,
    /// A record that a new client has read.
    read_elsewhere: Option<(Partition, i64)>,
}

impl Watched {
    /// Blocks, for three answers at most, and longer for a partition that seems to be stalled.
    /// Returns the record that the client does not read.
    fn look(&mut self) -> Option<(Partition, i64)> {
        let tails = match measure(&self.consumer) {
            Ok(tails) => tails,
            // Whether brokers answer is told elsewhere; the last figures are the best there are.
            Err(error) => {
                debug!(%error, "the lag is not known");
                return None;
            }
        };
        self.tell(&tails);
        if !self.consumer.keeps_up() {
            return None;
        }
        let offsets = self.consumer.offsets();
        let behind = tails.into_iter().filter(|tail| !offsets.is_in_hand(&tail.partition));
        let behind = behind.filter_map(Tail::unread).collect();
        drop(offsets);
        let due = self.stalled.look(behind);
        // It may have been written just then, and this client has read it as well by now.
        let read = self.read_elsewhere.take();
        let read = read.filter(|(partition, at)| self.stalled.has_not_read(partition, *at));
        if read.is_some() || due.is_empty() {
            return read;
        }
        self.read_elsewhere = stalled::readable(&self.config, &due, READ_WITHIN)
            .inspect_err(|error| debug!(%error, "no new client"))
            .unwrap_or_default();
        None
    }

    fn tell(&mut self, tails: &[Tail]) {
        let mut lags = BTreeMap::new();
        for tail in tails {
            *lags.entry(tail.partition.0.clone()).or_default() += tail.lag();
        }
        let gauges = &self.consumer.metrics().lag;
        for gone in self.told.keys().filter(|topic| !lags.contains_key(*topic)) {
            // It was set when it was told.
            gauges.remove_label_values(&[gone]).ok();
        }
        for (topic, lag) in &lags {
            gauges.with_label_values(&[topic]).set(*lag);
        }
        self.told = lags;
    }
}

/// The last part of a partition, as offsets.
#[derive(Debug)]
struct Tail {
    partition: Partition,
    beginning: Option<i64>,
    committed: Option<i64>,
    /// What the client reads next, once it has read something.
    next: Option<i64>,
    end: i64,
}

impl Tail {
    /// Records that are not committed. A group that is new there begins at the beginning, unless
    /// it was told otherwise; then this is too much until it has committed something.
    fn lag(&self) -> i64 {
        let done = self.committed.or(self.beginning);
        done.map_or(0, |done| (self.end - done).max(0))
    }

    /// The partition and the offset that is next, if there is more and it is known.
    fn unread(self) -> Option<(Partition, i64)> {
        let next = self.next.or(self.committed)?;
        (next < self.end).then_some((self.partition, next))
    }
}

/// The tails of all assigned partitions.
fn measure(consumer: &Consumer) -> KafkaResult<Vec<Tail>> {
    let client = &consumer.client;
    let assigned = client.assignment()?;
    if assigned.count() == 0 {
        return Ok(Vec::new());
    }
    let at = |place: Offset| {
        let mut list = assigned.clone();
        list.set_all_offsets(place)?;
        // A time of -1 or -2 asks for the end or the beginning.
        client.offsets_for_times(list, ANSWERED_WITHIN)
    };
    let next = client.position()?;
    let (ends, beginnings) = (at(Offset::End)?, at(Offset::Beginning)?);
    let committed = client.committed_offsets(assigned.clone(), ANSWERED_WITHIN)?;
    let tails = ends.elements().into_iter().filter_map(|element| {
        let (topic, partition) = (element.topic(), element.partition());
        let found = |list: &TopicPartitionList| {
            let offset = list.find_partition(topic, partition)?.offset().to_raw()?;
            (offset >= 0).then_some(offset)
        };
        Some(Tail {
            partition: (topic.to_owned(), partition),
            beginning: found(&beginnings),
            committed: found(&committed),
            next: found(&next),
            end: found(&ends)?,
        })
    });
    Ok(tails.collect())
}
