//! Notifications of a batch's progress.

use shared::{
    events::{
        batch::{
            BatchContentProvisioningCompletedData, BatchContentProvisioningCompletedV1,
            BatchEssaysReadyData, BatchEssaysReadyV1, BatchEssaysRegisteredV1,
            BatchPhaseOutcomeData, BatchValidationErrorsData, BatchValidationErrorsV1,
            ElsBatchPhaseOutcomeV1, FailedEssay, ValidationError,
        },
        count_or_len,
    },
    notification::Notification,
    time::Timestamp,
};

use super::Notify;

impl Notify for BatchEssaysReadyV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let essay_count = count_or_len(self.essay_count, self.ready_essays.as_ref());
        let data = BatchEssaysReadyData {
            batch_id: self.batch_id,
            essay_count,
            status: "ready",
            message: match essay_count {
                Some(essays) => format!("Batch ready with {essays} essays"),
                None => "Batch ready".into(),
            },
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for BatchValidationErrorsV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let deployed = |essays: Vec<FailedEssay>| essays.into_iter().map(visible_fields).collect();
        let validation_errors: Option<Vec<ValidationError>> =
            self.validation_errors.or_else(|| self.failed_essays.map(deployed));
        let error_count = validation_errors.as_ref().map(Vec::len);
        let data = BatchValidationErrorsData {
            batch_id: self.batch_id,
            validation_errors,
            error_count,
            message: match error_count {
                Some(errors) => format!("{errors} validation errors require attention"),
                None => "Validation errors require attention".into(),
            },
        };
        Some(Notification::from_data(at, data))
    }
}

/// Returns the fields of a failed essay that users may see.
fn visible_fields(essay: FailedEssay) -> ValidationError {
    let error = essay.error_detail.unwrap_or_default();
    ValidationError {
        essay_id: essay.essay_id,
        file_name: essay.file_name,
        error_code: error.error_code,
        message: error.message,
    }
}

impl Notify for BatchContentProvisioningCompletedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let counts = self.provisioned_count.zip(self.expected_count);
        let data = BatchContentProvisioningCompletedData {
            batch_id: self.batch_id,
            provisioned_count: self.provisioned_count,
            expected_count: self.expected_count,
            status: counts.map(|(ready, all)| if ready < all { "partial" } else { "completed" }),
            message: match counts {
                Some((ready, all)) => format!("Content ready for {ready} of {all} essays"),
                None => "Content ready".into(),
            },
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for ElsBatchPhaseOutcomeV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let phase = self.phase.or(self.phase_name);
        let status = self.outcome_status.or(self.phase_status);
        let subject =
            phase.as_ref().map_or_else(|| "Phase".into(), |phase| format!("Phase {phase}"));
        let data = BatchPhaseOutcomeData {
            batch_id: self.batch_id,
            message: match &status {
                Some(status) => format!("{subject} completed with status: {status}"),
                None => format!("{subject} completed"),
            },
            phase,
            outcome_status: status.clone(),
            status,
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for BatchEssaysRegisteredV1 {
    fn notify(self, _: Timestamp) -> Option<Notification> {
        None
    }
}
