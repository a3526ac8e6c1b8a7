//! Batches that were read and wait for the one in progress. The first of them is prepared while
//! Redis works on the one in progress, so that Redis need not wait for it. Whatever changes that
//! batch drops what was prepared for it.

use std::collections::VecDeque;

use crate::infrastructure::kafka::{batch::Batch, record::SourceRecord, source::MAX_BATCH};

/// Batches in the order of reading. Bounded by their user, who stops reading.
pub(super) struct Queue<R, P> {
    batches: VecDeque<Batch<R>>,
    /// Records and bytes in all batches.
    size: (usize, usize),
    /// What was prepared for the first batch as it is now.
    prepared: Option<P>,
}

impl<R: SourceRecord, P> Queue<R, P> {
    pub(super) fn new() -> Self {
        Self { batches: VecDeque::new(), size: (0, 0), prepared: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Returns the number of records and their bytes in memory.
    pub(super) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Adds a batch to the last one where both fit into one, else after it.
    pub(super) fn push(&mut self, batch: Batch<R>) {
        let (records, bytes) = batch.size();
        self.size = (self.size.0 + records, self.size.1 + bytes);
        match self.batches.back_mut() {
            Some(last) if last.records.len() + records <= MAX_BATCH => {
                last.append(batch);
                self.prepared = None;
            }
            _ => self.batches.push_back(batch),
        }
    }

    /// Prepares the first batch, unless it is prepared.
    pub(super) fn prepare_first(&mut self, prepare: impl FnOnce(&Batch<R>) -> P) {
        if self.prepared.is_none() {
            self.prepared = self.batches.front().map(prepare);
        }
    }

    /// Removes the first batch; returns it and what was prepared for it.
    pub(super) fn pop(&mut self) -> Option<(Batch<R>, Option<P>)> {
        let batch = self.batches.pop_front()?;
        let (records, bytes) = batch.size();
        self.size = (self.size.0 - records, self.size.1 - bytes);
        Some((batch, self.prepared.take()))
    }

    /// Changes all batches, and removes those that have no records any more.
    pub(super) fn change(&mut self, change: impl FnMut(&mut Batch<R>)) {
        self.prepared = None;
        self.batches.iter_mut().for_each(change);
        self.batches.retain(|batch| !batch.records.is_empty());
        let sizes = self.batches.iter().map(Batch::size);
        self.size = sizes.fold((0, 0), |all, batch| (all.0 + batch.0, all.1 + batch.1));
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::message::OwnedMessage;
    use shared::time::Timestamp;

    use super::*;
    use crate::{
        domain::{
            classify::Classifier,
            idempotency::IdentityRule,
            routes::{NotificationSource, Routes},
        },
        infrastructure::kafka::{
            batch::WatermarkWrite,
            offsets::Offsets,
            record::InFlightRecord,
            source::fake::{TOPIC, message},
        },
    };

    /// Batches, and how many records were prepared.
    type TestQueue = Queue<OwnedMessage, usize>;

    /// A batch of this many records.
    fn batch(records: usize) -> Batch<OwnedMessage> {
        let mut offsets = Offsets::default();
        offsets.assign(TOPIC, 0);
        let record = |offset| {
            let admitted = offsets.read(TOPIC, 0, offset).expect("an assigned partition");
            InFlightRecord::new(message(0, offset, b"no JSON".to_vec()), &admitted)
        };
        let records: Vec<_> = (0..).take(records).map(record).collect();
        let routes = Routes::new(NotificationSource::Domain, |topic| topic.default.to_owned());
        let classifier = Classifier::new(routes, IdentityRule::EventId, None);
        let classify = |record: &InFlightRecord<OwnedMessage>| {
            classifier.classify(&record.record(), Timestamp::UNIX_EPOCH)
        };
        let classifications = records.iter().map(classify).collect();
        let watermarks = WatermarkWrite::default();
        Batch { records, classifications, is_retry: false, watermarks }
    }

    /// Removes the first batch; returns its number of records, and what was prepared for it.
    fn pop(queue: &mut TestQueue) -> Option<(usize, Option<usize>)> {
        queue.pop().map(|(batch, prepared)| (batch.records.len(), prepared))
    }

    fn prepare_first(queue: &mut TestQueue) {
        queue.prepare_first(|batch| batch.records.len());
    }

    #[test]
    fn the_first_batch_is_prepared_once_and_not_the_one_behind_it() {
        let mut queue = Queue::new();
        prepare_first(&mut queue);
        queue.push(batch(MAX_BATCH));
        prepare_first(&mut queue);
        queue.push(batch(1));
        queue.prepare_first(|_| unreachable!("it is prepared"));
        assert_eq!(pop(&mut queue), Some((MAX_BATCH, Some(MAX_BATCH))));
        assert_eq!(pop(&mut queue), Some((1, None)));
        assert_eq!((pop(&mut queue), queue.size()), (None, (0, 0)));
    }

    #[test]
    fn what_was_prepared_for_a_batch_is_dropped_when_the_batch_changes() {
        let check = |change: fn(&mut TestQueue), records| {
            let mut queue = Queue::new();
            queue.push(batch(1));
            prepare_first(&mut queue);
            change(&mut queue);
            assert_eq!(queue.size().0, records);
            assert_eq!(pop(&mut queue), Some((records, None)));
        };
        check(|queue| queue.push(batch(2)), 3);
        check(|queue| queue.change(|_| {}), 1);
        let replace = |queue: &mut TestQueue| {
            queue.change(|batch| assert_eq!(batch.drop_revoked(&Offsets::default()), 1));
            queue.push(batch(4));
        };
        check(replace, 4);
    }
}
