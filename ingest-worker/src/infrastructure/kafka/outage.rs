//! An outage of the Kafka brokers, which is logged once.

use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::types::RDKafkaErrorCode;
use tracing::info;

/// Whether an outage has been logged since the brokers last answered.
#[derive(Debug, Default)]
pub(super) struct Outage(AtomicBool);

impl Outage {
    /// Returns whether an outage is logged.
    pub(super) fn is_logged(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns whether the caller has to log the outage: it was not logged before.
    pub(super) fn begin(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Returns whether an error belongs to an outage that was logged; it is as soon as the caller
    /// logs the error.
    pub(super) fn is_known(&self, code: Option<RDKafkaErrorCode>) -> bool {
        code.is_some_and(is_of_outage) && !self.begin()
    }

    /// Logs that the brokers answer again, if the opposite was logged.
    pub(super) fn end(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            info!("Kafka brokers answer again");
        }
    }
}

/// Returns whether the client repeats an error until a broker answers.
fn is_of_outage(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::SSL
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_once_whatever_error_it_begins_with() {
        for code in [
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::Authentication,
            RDKafkaErrorCode::SSL,
        ] {
            let outage = Outage::default();
            assert!(!outage.is_known(Some(code)) && outage.is_logged());
            assert!(outage.is_known(Some(RDKafkaErrorCode::Resolve)) && !outage.begin());
            outage.end();
            assert!(!outage.is_logged());
        }
        assert!(!Outage::default().is_known(Some(RDKafkaErrorCode::BadMessage)));
    }
}
