//! How far the group is behind, as the brokers know it: what is written less what is committed.
//! The client's own figures stand still while its partitions are paused, which is when it matters.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{Offset, TopicPartitionList, consumer::Consumer as _, error::KafkaResult};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::kafka::Consumer;

/// How old the figures may be.
const INTERVAL: Duration = Duration::from_secs(5);

/// Longest wait for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Keeps the lag of each topic in the metrics until `stop`.
pub async fn watch(consumer: Arc<Consumer>, stop: CancellationToken) {
    let mut lag = Lag::default();
    loop {
        let consumer = Arc::clone(&consumer);
        let refreshed = tokio::task::spawn_blocking(move || {
            lag.refresh(&consumer);
            lag
        });
        lag = refreshed.await.unwrap_or_default();
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
}

impl Lag {
    /// Blocks, for three answers at most.
    fn refresh(&mut self, consumer: &Consumer) {
        let lags = match measure(consumer) {
            Ok(lags) => lags,
            // Whether brokers answer is told elsewhere; the last figures are the best there are.
            Err(error) => return debug!(%error, "the lag is not known"),
        };
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

/// The records of each assigned topic that are not committed yet.
fn measure(consumer: &Consumer) -> KafkaResult<BTreeMap<String, i64>> {
    let client = &consumer.client;
    let assigned = client.assignment()?;
    if assigned.count() == 0 {
        return Ok(BTreeMap::new());
    }
    let at = |place: Offset| {
        let mut list = assigned.clone();
        list.set_all_offsets(place)?;
        // A time of -1 or -2 asks for the end or the beginning.
        client.offsets_for_times(list, ANSWERED_WITHIN)
    };
    let (ends, beginnings) = (at(Offset::End)?, at(Offset::Beginning)?);
    let committed = client.committed_offsets(assigned.clone(), ANSWERED_WITHIN)?;
    let mut lags = BTreeMap::new();
    for element in ends.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let found = |list: &TopicPartitionList| {
            list.find_partition(topic, partition).and_then(|found| found.offset().to_raw())
        };
        // A group that is new there begins at the beginning, unless it was told otherwise; then
        // this is too much until it has committed something.
        let done = found(&committed).filter(|at| *at >= 0).or_else(|| found(&beginnings));
        let lag = element.offset().to_raw().zip(done).map_or(0, |(end, done)| (end - done).max(0));
        *lags.entry(topic.to_owned()).or_default() += lag;
    }
    Ok(lags)
}
