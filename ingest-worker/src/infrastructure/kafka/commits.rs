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
    /// Returns whether a commit has failed, at least for one partition.
    pub(super) fn has_failed(
        &self,
        result: &KafkaResult<()>,
        offsets: &TopicPartitionList,
    ) -> bool {
        match result {
            // Nothing was stored since the last commit.
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => false,
            Ok(()) if failed(offsets).is_none() => {
                self.0.store(false, Ordering::Relaxed);
                false
            }
            _ => true,
        }
    }

    /// Logs a failure: as a warning if it is news, and no part of an outage that was logged.
    pub(super) fn log(
        &self,
        result: &KafkaResult<()>,
        offsets: &TopicPartitionList,
        outage: &Outage,
    ) {
        let failed = failed(offsets);
        let (topic, partition) =
            failed.as_ref().map(|failed| (failed.0.as_str(), failed.1)).unzip();
        let error = result.as_ref().err().or(failed.as_ref().map(|failed| &failed.2));
        let code = error.and_then(KafkaError::rdkafka_error_code);
        let error = error.map(tracing::field::display);
        let is_known = outage.is_logged() || outage.is_known(code);
        if is_known || !self.is_news() {
            debug!(kafka.topic = topic, kafka.partition = partition, error, "offset commit failed");
        } else {
            warn!(
                kafka.topic = topic,
                kafka.partition = partition,
                error,
                "offset commit failed, repeating it every second"
            );
        }
    }

    /// Returns whether no failure has been logged since a commit last succeeded.
    fn is_news(&self) -> bool {
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

    #[test]
    fn a_commit_fails_as_a_whole_and_not_for_lack_of_offsets() {
        let (commits, offsets) = (Commits::default(), TopicPartitionList::new());
        let error = |code| Err(KafkaError::ConsumerCommit(code));
        assert!(!commits.has_failed(&Ok(()), &offsets));
        assert!(!commits.has_failed(&error(RDKafkaErrorCode::NoOffset), &offsets));
        assert!(commits.has_failed(&error(RDKafkaErrorCode::OperationTimedOut), &offsets));
    }

    #[test]
    fn a_failure_is_news_once_until_a_commit_succeeds() {
        let (commits, offsets) = (Commits::default(), TopicPartitionList::new());
        let nothing = Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset));
        assert_eq!([commits.is_news(), commits.is_news()], [true, false]);
        assert!(!commits.has_failed(&nothing, &offsets) && !commits.is_news());
        assert!(!commits.has_failed(&Ok(()), &offsets) && commits.is_news());
    }
}
