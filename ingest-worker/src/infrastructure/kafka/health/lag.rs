//! How far the group is behind, as the brokers know it: what is written less what is committed.
//! The client's own figures stand still while its partitions are paused, which is when it matters,
//! and when it has stopped reading one, which is found here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaResult};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    fatal::Lost,
    stalled::{Place, Stalled},
};
use crate::{
    config::Config,
    infrastructure::kafka::{consumer::Consumer, offsets::Partition},
};

/// How old the figures may be.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest wait for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Keeps the lag of each topic in the metrics until `stop`. Reports a partition that the client has
/// stopped reading.
pub async fn watch(consumer: Arc<Consumer>, config: Config, lost: Lost, stop: CancellationToken) {
    let config = Arc::new(config);
    let mut lag = Lag::default();
    loop {
        let (consumer, config) = (Arc::clone(&consumer), Arc::clone(&config));
        let looked = tokio::task::spawn_blocking(move || (lag.look(&consumer, &config), lag));
        let stalled;
        (stalled, lag) = looked.await.unwrap_or_default();
        if let Some(((topic, partition), offset)) = stalled {
            return lost.report(format!(
                "the Kafka client has stopped reading {topic} [{partition}] at offset {offset}, \
                 which a new one reads"
            ));
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(INTERVAL) => {}
        }
    }
}

#[derive(Debug, Default)]
struct Lag {
    /// What was told last; a topic that is no longer assigned is taken out.
    told: BTreeMap<String, i64>,
    stalled: Stalled,
}

impl Lag {
    /// Blocks, for three answers at most, and longer for a partition that seems to be stalled.
    /// Returns a record that the client does not read.
    fn look(&mut self, consumer: &Consumer, config: &Config) -> Option<Place> {
        let tails = match measure(consumer) {
            Ok(tails) => tails,
            // Whether brokers answer is told elsewhere; the last figures are the best there are.
            Err(error) => {
                debug!(%error, "the lag is not known");
                return None;
            }
        };
        self.tell(&tails, consumer);
        if !consumer.keeps_up() {
            return None;
        }
        let offsets = consumer.offsets();
        let behind = tails.into_iter().filter(|tail| !offsets.is_in_flight(&tail.partition));
        let behind = behind.filter_map(Tail::unread).collect();
        drop(offsets);
        self.stalled.look(config, behind)
    }

    fn tell(&mut self, tails: &[Tail], consumer: &Consumer) {
        let mut lags = BTreeMap::new();
        for tail in tails {
            *lags.entry(tail.partition.0.clone()).or_default() += tail.lag();
        }
        let gauges = &consumer.metrics().lag;
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
    fn unread(self) -> Option<Place> {
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
