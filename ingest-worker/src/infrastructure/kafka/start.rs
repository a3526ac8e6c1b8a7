//! Where assigned partitions begin. The client states a position only with a record that it reads,
//! or with its statistics; what Redis has lost is restored without waiting for either.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::KafkaResult,
};
use tracing::debug;

use super::{
    membership::Membership,
    offsets::{Committed, Partition},
    rewind,
};

/// Time limit for the brokers to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sets the start of partitions, each with its assignment, to the committed offset, unless it is
/// known by then; blocks.
pub(super) fn set_committed(
    client: &StreamConsumer<Membership>,
    assigned: &BTreeMap<Partition, u64>,
) {
    if let Err(error) = try_set_committed(client, assigned) {
        debug!(%error, "committed offsets not read, waiting for the client's statistics");
    }
}

fn try_set_committed(
    client: &StreamConsumer<Membership>,
    assigned: &BTreeMap<Partition, u64>,
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in assigned.keys() {
        list.add_partition(topic, *partition);
    }
    let committed = client.committed_offsets(list, TIMEOUT)?;
    let mut offsets = client.context().offsets();
    let unknown = offsets.without_start();
    for ((topic, partition), epoch) in assigned {
        let committed = rewind::offset(committed.find_partition(topic, *partition))?;
        let partition = (topic.clone(), *partition);
        let known = committed.map_or(Committed::Nothing, Committed::Offset);
        offsets.set_first_committed(&partition, *epoch, known);
        let is_unknown = unknown.get(&partition) == Some(epoch);
        if let Some(committed) = committed.filter(|_| is_unknown) {
            offsets.set_start(topic, partition.1, committed);
        }
    }
    Ok(())
}
