//! Notifications of checks and assessments.

use shared::{
    events::results::{
        CjAssessmentCompletedData, CjAssessmentCompletedV1, CjAssessmentFailedData,
        CjAssessmentFailedV1, SpellcheckCompletedData, SpellcheckCompletedV1,
    },
    notification::Notification,
    time::Timestamp,
};

use super::Notify;

impl Notify for CjAssessmentCompletedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let data = CjAssessmentCompletedData {
            batch_id: self.batch_id.or(self.entity_id),
            assessment_id: self.assessment_id.or(self.cj_assessment_job_id),
            comparison_count: self.comparison_count,
            service: "cj_assessment",
            results_available: true,
            message: "CJ Assessment completed successfully".into(),
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for CjAssessmentFailedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let deployed = || {
            let error = self.system_metadata?.error_info?;
            error.error_message.or(error.reason)
        };
        let data = CjAssessmentFailedData {
            batch_id: self.batch_id.or(self.entity_id),
            error_message: self.error_message.or_else(deployed),
            message: "CJ Assessment failed - manual review required".into(),
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for SpellcheckCompletedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let failed = self.status.is_some_and(|status| status.contains("failed"));
        let corrections_count = self.corrections_count.or(self.corrections_made);
        let data = SpellcheckCompletedData {
            batch_id: self.batch_id.or(self.parent_id),
            essay_id: self.essay_id.or(self.entity_id),
            corrections_count,
            service: "spellcheck",
            results_available: !failed,
            message: match corrections_count {
                _ if failed => "Spellcheck failed".into(),
                Some(made) => format!("Spellcheck completed: {made} corrections made"),
                None => "Spellcheck completed".into(),
            },
        };
        Some(Notification::from_data(at, data))
    }
}
