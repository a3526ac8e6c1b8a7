//! Records on their way to the dead-letter topic. Other records are processed while they wait for
//! its acknowledgement; one that is refused is retried with a back-off of its own.

use std::{future::Future, time::Duration};

use shared::{backoff::Backoff, due_queue::DueQueue};
use tokio::time::Instant;

use crate::{
    domain::{
        classify::Classification,
        record::{Outcome, Rejection},
    },
    infrastructure::kafka::{
        offsets::{Offsets, Partition},
        record::OwnedRecord,
    },
    notification::publisher::TransientError,
};

/// Delays between attempts at one dead letter.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// The size of the largest record that is written, in bytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// A record that cannot be processed, and why.
#[derive(Debug)]
pub struct DeadLetter {
    /// The record.
    pub record: OwnedRecord,
    pub(crate) classification: Classification,
    /// The reason.
    pub rejection: Rejection,
    backoff: Backoff,
}

impl DeadLetter {
    /// A dead letter that is not written yet. It does not keep the notification, which the bytes of
    /// the record do not include.
    pub(crate) fn new(
        record: OwnedRecord,
        classification: Classification,
        rejection: Rejection,
    ) -> Self {
        let outcome = Outcome::DeadLetter(rejection.clone());
        let classification = classification.with_outcome(outcome);
        Self { record, classification, rejection, backoff: BACKOFF }
    }

    /// Returns whether the topic has refused it before.
    pub(crate) fn was_refused(&self) -> bool {
        self.backoff.attempts() > 0
    }
}

/// A topic for dead letters.
///
/// An implementation guarantees that `Ok` means acknowledged, and that one dead letter does not
/// affect another. A dead letter with an error may have been written; written again, it is there
/// twice.
pub trait DeadLetterSink: Send + Sync {
    /// Writes `dead_letters`; returns a result for each, in order.
    fn write(
        &self,
        dead_letters: &[DeadLetter],
    ) -> impl Future<Output = Vec<Result<(), TransientError>>> + Send;
}

/// Dead letters that are not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct DeadLetterQueue {
    /// Those that are not being written, by the time of their next attempt.
    dead_letters: DueQueue<DeadLetter>,
    /// The partitions and bytes of those that are being written.
    in_flight: (Vec<Partition>, usize),
    /// The bytes of all of them.
    bytes: usize,
}

impl DeadLetterQueue {
    pub(crate) fn len(&self) -> usize {
        self.dead_letters.len() + self.in_flight.0.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the partitions of the dead letters' records.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = Partition> {
        let queued = self.dead_letters.iter().map(|dead_letter| partition(&dead_letter.record));
        queued.chain(self.in_flight.0.iter().cloned())
    }

    /// Adds a dead letter that is due now.
    pub(crate) fn push(&mut self, dead_letter: DeadLetter, now: Instant) {
        self.insert(dead_letter, now);
    }

    /// Adds a dead letter that was refused; it is due after its back-off.
    pub(crate) fn push_refused(&mut self, mut dead_letter: DeadLetter, now: Instant) {
        let retry_at = now + dead_letter.backoff.next_delay();
        self.insert(dead_letter, retry_at);
    }

    fn insert(&mut self, dead_letter: DeadLetter, retry_at: Instant) {
        self.bytes += dead_letter.record.memory();
        self.dead_letters.insert(retry_at, dead_letter);
    }

    /// Returns when the next attempt is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.dead_letters.next_due()
    }

    /// Takes up to `max` dead letters that are due. They count as not acknowledged until
    /// [`DeadLetterQueue::written`] is called.
    pub(crate) fn take_due(&mut self, max: usize, now: Instant) -> Vec<DeadLetter> {
        let due = self.dead_letters.take_due(max, now);
        self.in_flight.0.extend(due.iter().map(|dead_letter| partition(&dead_letter.record)));
        self.in_flight.1 +=
            due.iter().map(|dead_letter| dead_letter.record.memory()).sum::<usize>();
        due
    }

    /// Ends the attempt at the dead letters that were taken; refused ones are to be pushed again.
    pub(crate) fn written(&mut self) {
        let (_, bytes) = std::mem::take(&mut self.in_flight);
        self.bytes -= bytes;
    }

    /// Removes the dead letters whose partitions were revoked; their next owner writes them.
    pub(crate) fn drop_revoked(&mut self, offsets: &Offsets) -> Vec<DeadLetter> {
        let is_revoked = |dead_letter: &DeadLetter| {
            let record = &dead_letter.record;
            !offsets.is_current(record.topic(), record.partition(), record.state.id)
        };
        let revoked = self.dead_letters.extract_if(is_revoked);
        self.bytes -= revoked.iter().map(|dead_letter| dead_letter.record.memory()).sum::<usize>();
        revoked
    }
}

fn partition(record: &OwnedRecord) -> Partition {
    (record.topic().to_owned(), record.partition())
}
