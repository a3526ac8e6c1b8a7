//! Moves the positions of assigned partitions back. Blocks for as long as the brokers take. One
//! request to each broker serves all of its partitions.

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer as _, StreamConsumer},
    error::{KafkaError, KafkaResult},
    topic_partition_list::TopicPartitionListElem,
    types::RDKafkaErrorCode,
};
use shared::time::{Timestamp, millis};

use super::{
    membership::Membership,
    offsets::{Committed, Partition},
    source::RewindTo,
};

/// Time limit for the brokers to answer, and for the client to seek.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Reads partitions again; see [`super::source::RecordSource::rewind`].
pub(super) fn rewind(
    client: &StreamConsumer<Membership>,
    partitions: &[(Partition, RewindTo)],
) -> Vec<KafkaResult<Option<i64>>> {
    match seek(client, partitions) {
        Ok(rewound) => rewound,
        Err(error) => partitions.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn seek(
    client: &StreamConsumer<Membership>,
    partitions: &[(Partition, RewindTo)],
) -> KafkaResult<Vec<KafkaResult<Option<i64>>>> {
    let positions = positions(client, partitions)?;
    let mut targets = TopicPartitionList::new();
    for (((topic, partition), _), position) in partitions.iter().zip(&positions) {
        if let Ok(Some(position)) = position {
            targets.add_partition_offset(topic, *partition, Offset::Offset(*position))?;
        }
    }
    if targets.count() == 0 {
        return Ok(positions);
    }
    // With a time limit, no record that was fetched before is read afterwards.
    let targets = client.seek_partitions(targets, TIMEOUT)?;
    let finish =
        |(((topic, partition), to), position): (&(Partition, RewindTo), KafkaResult<_>)| {
            let Some(position) = position? else { return Ok(None) };
            targets.find_partition(topic, *partition).map_or(Ok(()), |found| found.error())?;
            client.context().offsets().begin_restore(
                topic,
                *partition,
                position,
                to.silent_until(),
                to.loss(),
            );
            Ok(Some(position))
        };
    Ok(partitions.iter().zip(positions).map(finish).collect())
}

/// Returns from where each partition is read again, if something may be restored.
fn positions(
    client: &StreamConsumer<Membership>,
    partitions: &[(Partition, RewindTo)],
) -> KafkaResult<Vec<KafkaResult<Option<i64>>>> {
    let (mut times, mut unknown) = (TopicPartitionList::new(), TopicPartitionList::new());
    for ((topic, partition), to) in partitions {
        let time = match to {
            // Out of range, the client would apply `KAFKA_AUTO_OFFSET_RESET`.
            RewindTo::Offset { .. } => Offset::Beginning,
            RewindTo::Age { max, .. } => Offset::Offset(since(*max)),
        };
        times.add_partition_offset(topic, *partition, time)?;
        if client.context().offsets().committed(topic, *partition) == Committed::Unknown {
            unknown.add_partition(topic, *partition);
        }
    }
    let found = client.offsets_for_times(times, TIMEOUT)?;
    // The coordinator answers when a rebalance of the group ends, which may wait for a dead member.
    let read = (unknown.count() > 0).then(|| client.committed_offsets(unknown, TIMEOUT));
    let read = read.unwrap_or_else(|| Ok(TopicPartitionList::new()));
    let offsets = client.context().offsets();
    let position = |((topic, partition), to): &(Partition, RewindTo)| {
        let found = match offset(found.find_partition(topic, *partition)) {
            // The broker cannot search the log: a batch in it is damaged.
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::Unknown)) => return Ok(None),
            found => found?,
        };
        let committed = match (offsets.committed(topic, *partition), &read) {
            (Committed::Offset(committed), _) => Some(committed),
            (Committed::Nothing, _) => None,
            (Committed::Unknown, Ok(read)) => offset(read.find_partition(topic, *partition))?,
            (Committed::Unknown, Err(error)) => return Err(error.clone()),
        };
        Ok(offsets.rewind_start(topic, *partition, *to, found, committed))
    };
    Ok(partitions.iter().map(position).collect())
}

/// Returns the time of records that are at most so old, in milliseconds.
fn since(age: Duration) -> i64 {
    let age = i64::try_from(millis(age)).unwrap_or(i64::MAX);
    Timestamp::now().as_millisecond().saturating_sub(age).max(0)
}

/// Returns the offset of a partition, if it has one.
pub(super) fn offset(element: Option<TopicPartitionListElem<'_>>) -> KafkaResult<Option<i64>> {
    let Some(element) = element else { return Ok(None) };
    element.error()?;
    Ok(element.offset().to_raw().filter(|offset| *offset >= 0))
}
