//! The boundary to the Kafka client: what the consume loop needs of a consumer in a group.

use std::{collections::BTreeSet, future::Future, sync::MutexGuard};

pub use super::rewind_to::RewindTo;
use super::{
    offsets::{Offsets, Partition},
    record::{InFlightRecord, SourceRecord},
};
use crate::notification::publisher::TransientError;

/// Most records that are read, and delivered, at once. Larger pipelines to Redis gain nothing.
pub const MAX_BATCH: usize = 256;

/// A member of a consumer group that reads records and commits offsets.
///
/// An implementation guarantees:
/// - It assigns and revokes partitions in [`RecordSource::offsets`] only while
///   [`RecordSource::read`] is polled, before the first and after the last record of the
///   assignment.
/// - It yields the records of a partition in order, from the committed offset on, each admitted by
///   those offsets at the time it was taken from the client.
/// - A stored offset is committed eventually, and before the partition is revoked in an orderly
///   rebalance.
pub trait RecordSource {
    /// A record; it may borrow from the client.
    type Record: SourceRecord;

    /// Waits for records and returns up to [`MAX_BATCH`] that are ready; returns early, possibly
    /// without any, after a rebalance or a fatal error. Has to be polled for the member to stay in
    /// its group, even while everything is paused. Cancel-safe.
    fn read(&mut self) -> impl Future<Output = Vec<InFlightRecord<Self::Record>>> + Send;

    /// Locks the offsets of all assigned partitions. The lock is not held while polling `read`.
    fn offsets(&self) -> MutexGuard<'_, Offsets>;

    /// Returns whether partitions were assigned or revoked since the last call.
    fn take_assignment_changed(&self) -> bool;

    /// Pauses or resumes fetching of assigned partitions. Newly assigned ones are not paused.
    fn set_paused(&self, partitions: &BTreeSet<Partition>, paused: bool);

    /// Lets the member commit everything that [`Offsets::take_committable`] yields.
    fn store_offsets(&self);

    /// Reads assigned partitions again from earlier positions, with [`Offsets::begin_restore`].
    /// Returns these; `None` for a partition without a record to read again.
    ///
    /// # Errors
    /// If the client does not reach a broker; nothing has changed for the partition.
    fn rewind(
        &mut self,
        partitions: &[(Partition, RewindTo)],
    ) -> impl Future<Output = Vec<Result<Option<i64>, TransientError>>> + Send;

    /// Returns the error from which this member cannot recover, if there was one.
    fn fatal_error(&self) -> Option<String>;
}

#[cfg(test)]
pub(crate) mod fake;
