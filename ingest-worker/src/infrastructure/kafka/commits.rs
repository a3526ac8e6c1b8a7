//! Commits of offsets that fail. The client repeats them every second, so that a failure is logged
//! once until a commit succeeds.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::{
    TopicPartitionList,
    error::{KafkaError, KafkaResult},
    types::RDKafkaErrorCode,
};
use tracing::{debug, warn};

use super::outage::Outage;

/// Whether a failure has been logged since a commit last succeeded.
#[derive(Debug, Default)]
pub(super) struct Commits(AtomicBool);

impl Commits {
    /// Returns whether a commit has failed, at least for one partition. Logs it: as a warning if it
    /// is the first failure since a success, and no part of an outage that was logged.
    pub(super) fn report(
        &self,
        result: &KafkaResult<()>,
        offsets: &TopicPartitionList,
        outage: &Outage,
    ) -> bool {
        let failed = failed(offsets);
        let error = match (result, &failed) {
            // Nothing was stored since the last commit.
            (Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)), _) => return false,
            (Err(error), _) | (Ok(()), Some((_, _, error))) => error,
            (Ok(()), None) => {
                self.0.store(false, Ordering::Relaxed);
                return false;
            }
        };
        let (topic, partition) = failed.as_ref().map(|failed| (&*failed.0, failed.1)).unzip();
        let is_known = outage.is_logged() || outage.is_known(error.rdkafka_error_code());
        if is_known || !self.is_first_failure() {
            debug!(kafka.topic = topic, kafka.partition = partition, %error, "offset commit failed");
        } else {
            warn!(
                kafka.topic = topic,
                kafka.partition = partition,
                %error,
                "offset commit failed, repeating it every second"
            );
        }
        true
    }

    /// Returns whether no failure has been logged since a commit last succeeded.
    fn is_first_failure(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

/// Returns the first partition whose offset was not committed, and why.
fn failed(offsets: &TopicPartitionList) -> Option<(String, i32, KafkaError)> {
    let elements = offsets.elements().into_iter();
    let mut failed = elements.filter_map(|element| {
        let error = element.error().err()?;
        Some((element.topic().to_owned(), element.partition(), error))
    });
    failed.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: RDKafkaErrorCode) -> KafkaResult<()> {
        Err(KafkaError::ConsumerCommit(code))
    }

    #[test]
    fn a_commit_fails_as_a_whole_and_not_for_lack_of_offsets() {
        let (commits, outage, offsets) = Default::default();
        let has_failed = |result| Commits::report(&commits, &result, &offsets, &outage);
        assert!(!has_failed(Ok(())));
        assert!(!has_failed(failure(RDKafkaErrorCode::NoOffset)));
        assert!(has_failed(failure(RDKafkaErrorCode::OperationTimedOut)));
    }

    #[test]
    fn only_the_first_failure_since_a_success_is_a_warning() {
        let (commits, outage, offsets) = Default::default();
        let is_first_after = |result: KafkaResult<()>| {
            Commits::report(&commits, &result, &offsets, &outage);
            commits.is_first_failure()
        };
        assert!(!is_first_after(failure(RDKafkaErrorCode::UnknownTopicOrPartition)));
        assert!(!is_first_after(failure(RDKafkaErrorCode::NoOffset)));
        assert!(is_first_after(Ok(())));
    }
}
