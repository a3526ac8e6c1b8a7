//! What follows from outcomes: a record is finished, parked, or queued as a dead letter, and each
//! ends when its partition is revoked.

use shared::time::Timestamp;
use tokio::time::Instant;

use super::{ConsumeLoop, Written};
use crate::{
    accounting::RecordInfo,
    domain::{
        recipients::OwnerDirectory,
        record::{Outcome, ParkReason},
    },
    infrastructure::kafka::{
        batch::Delivered,
        dead_letters::queue::{self as dead_letters, DeadLetter, DeadLetterSink},
        offsets::Offsets,
        record::{InFlightRecord, SourceRecord},
        source::RecordSource,
        tracing as spans,
    },
    notification::publisher::Publisher,
};

impl<'c, S, P, D, L> ConsumeLoop<'c, S, P, D, L>
where
    S: RecordSource,
    S::Record: 'c,
    P: Publisher,
    D: OwnerDirectory,
    L: DeadLetterSink,
{
    /// Records the outcomes of a batch.
    pub(super) fn apply_outcomes(&mut self, (batch, outcomes): Delivered<S::Record>) {
        self.too_old.report(&outcomes);
        let now = (Timestamp::now(), Instant::now());
        let mut offsets = self.source.offsets();
        let records = batch.records.into_iter().zip(batch.classifications);
        for ((record, classification), outcome) in records.zip(outcomes) {
            if self.parked.len() > 0 {
                self.parked.owners_learned(classification.stated_entities(), now.1);
            }
            let before = record.state.parked.as_ref().map(|parked| parked.reason);
            match outcome {
                Outcome::Parked(parking) => {
                    self.accounting.parked(&info(&record), &parking, before);
                    if park_offset(&mut offsets, &record) {
                        self.parked.park(record.into_owned(), *parking, now.1);
                    } else {
                        self.accounting.unparked(Some(parking.reason));
                        self.accounting.revoked(1);
                    }
                }
                Outcome::DeadLetter(rejection) => {
                    self.accounting.unparked(before);
                    if park_offset(&mut offsets, &record) {
                        let record = record.into_owned_up_to(dead_letters::MAX_BYTES);
                        let dead_letter = DeadLetter::new(record, classification, rejection);
                        self.dead_letters.push(dead_letter, now.1);
                    } else {
                        self.accounting.revoked(1);
                    }
                }
                outcome => {
                    self.accounting.unparked(before);
                    self.accounting.finished(&info(&record), &classification, &outcome, now);
                    finish(&mut offsets, record, &outcome);
                }
            }
        }
        drop(offsets);
        self.source.store_offsets();
        if self.is_stuck {
            self.set_stuck(false);
        } else {
            self.update_pauses();
        }
    }

    /// Finishes the dead letters that were acknowledged and queues the others again, except those
    /// of revoked partitions: their next owner writes them.
    pub(super) fn apply_write_results(&mut self, written: Vec<Written>) {
        let now = (Timestamp::now(), Instant::now());
        self.dead_letters.written();
        let mut offsets = self.source.offsets();
        for (dead_letter, result) in written {
            let before = dead_letter.was_refused().then_some(ParkReason::DeadLetterRefused);
            if let Err(error) = result {
                self.accounting.retried(&error);
                let record = &dead_letter.record;
                if !offsets.is_current(record.topic(), record.partition(), record.state.id) {
                    self.accounting.unparked(before);
                    self.accounting.revoked(1);
                    continue;
                }
                if before.is_none() {
                    self.accounting.dead_letter_refused(&info(record), &error);
                }
                self.dead_letters.push_refused(dead_letter, now.1);
            } else {
                let DeadLetter { record, classification, rejection, .. } = dead_letter;
                let outcome = Outcome::DeadLetter(rejection);
                self.accounting.unparked(before);
                self.accounting.finished(&info(&record), &classification, &outcome, now);
                finish(&mut offsets, record, &outcome);
            }
        }
        drop(offsets);
        self.source.store_offsets();
        self.update_pauses();
    }

    /// Drops what was revoked and pauses again what was assigned again. A queued record must not be
    /// published either: one before it may have been parked, and waits for the next owner.
    pub(super) fn assignment_changed(&mut self) {
        let offsets = self.source.offsets();
        let queued: usize = self.queue.iter_mut().map(|batch| batch.drop_revoked(&offsets)).sum();
        let parked = self.parked.drop_revoked(&offsets);
        let dead_letters = self.dead_letters.drop_revoked(&offsets);
        drop(offsets);
        self.queue.retain(|batch| !batch.records.is_empty());
        self.count_ahead();
        self.accounting.revoked(queued + parked.len() + dead_letters.len());
        let refused = dead_letters.iter().filter(|dead_letter| dead_letter.was_refused());
        let refused = refused.map(|_| ParkReason::DeadLetterRefused);
        parked.into_iter().chain(refused).for_each(|reason| self.accounting.unparked(Some(reason)));
        self.pauses.assignment_changed(&self.source);
        self.update_pauses();
    }
}

/// Keeps the offset of a record from being committed; false if its partition was revoked.
fn park_offset<R: SourceRecord>(offsets: &mut Offsets, record: &InFlightRecord<R>) -> bool {
    offsets.park(record.topic(), record.partition(), record.offset(), record.state.id)
}

fn finish<R: SourceRecord>(offsets: &mut Offsets, record: InFlightRecord<R>, outcome: &Outcome) {
    offsets.finish(record.topic(), record.partition(), record.offset(), record.state.id);
    if let Some(kind) = outcome.kind() {
        spans::finished(record.state.span, kind);
    }
}

/// Returns how log lines and metrics name a record.
fn info<R: SourceRecord>(record: &InFlightRecord<R>) -> RecordInfo<'_> {
    RecordInfo {
        topic: record.topic(),
        partition: record.partition(),
        offset: record.offset(),
        written_at: record.written_at(),
        since: record.state.since,
        span: record.state.span.as_ref(),
    }
}
