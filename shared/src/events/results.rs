//! Results of spellchecks and assessments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Subject, Topic, json};
use crate::notification::{Category, NotificationData, Priority};

/// A comparative judgement (CJ) assessment of a batch completed.
#[derive(Debug, Deserialize)]
pub struct CjAssessmentCompletedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The batch, as the deployed producer names it.
    pub entity_id: Option<String>,
    /// The assessment.
    pub assessment_id: Option<String>,
    /// The assessment, as the deployed producer names it.
    pub cj_assessment_job_id: Option<String>,
    /// Number of comparisons made.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub comparison_count: Option<u64>,
}

/// Notification data for [`CjAssessmentCompletedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct CjAssessmentCompletedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// The assessment.
    pub assessment_id: Option<String>,
    /// Number of comparisons made.
    pub comparison_count: Option<u64>,
    /// The service with the results.
    pub service: &'static str,
    /// Whether results can be loaded.
    pub results_available: bool,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for CjAssessmentCompletedData {
    const EVENT: &'static str = "cj_assessment_completed";
    const CATEGORY: Category = Category::ProcessingResults;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for CjAssessmentCompletedV1 {
    type Data = CjAssessmentCompletedData;

    const TYPE: &'static str = "huleedu.cj_assessment.completed.v1";
    const ALIASES: &'static [&'static str] = &["cj_assessment.completed.v1"];
    const TOPIC: Topic = Topic { setting: "CJ_ASSESSMENT_COMPLETED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.batch_id.as_deref().or(self.entity_id.as_deref()),
            ..Subject::default()
        }
    }
}

/// A comparative judgement (CJ) assessment of a batch failed.
#[derive(Debug, Deserialize)]
pub struct CjAssessmentFailedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The batch, as the deployed producer names it.
    pub entity_id: Option<String>,
    /// Description of the error for the user.
    pub error_message: Option<String>,
    /// Metadata of the deployed producer, which contain the error.
    #[serde(default, deserialize_with = "json::object")]
    pub system_metadata: Option<SystemMetadata>,
}

/// The metadata in which the deployed producer reports the error.
#[derive(Debug, Deserialize)]
pub struct SystemMetadata {
    /// The error.
    #[serde(default, deserialize_with = "json::object")]
    pub error_info: Option<ErrorInfo>,
}

/// The part of the error that users may see.
#[derive(Debug, Deserialize)]
pub struct ErrorInfo {
    /// Description of the error for the user.
    pub error_message: Option<String>,
    /// Description of the error, if there is no `error_message`.
    pub reason: Option<String>,
}

/// Notification data for [`CjAssessmentFailedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct CjAssessmentFailedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Description of the error for the user.
    pub error_message: Option<String>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for CjAssessmentFailedData {
    const EVENT: &'static str = "cj_assessment_failed";
    const CATEGORY: Category = Category::SystemAlerts;
    const PRIORITY: Priority = Priority::Immediate;
}

impl Event for CjAssessmentFailedV1 {
    type Data = CjAssessmentFailedData;

    const TYPE: &'static str = "huleedu.cj_assessment.failed.v1";
    const ALIASES: &'static [&'static str] = &["cj_assessment.failed.v1"];
    const TOPIC: Topic = Topic { setting: "CJ_ASSESSMENT_FAILED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.batch_id.as_deref().or(self.entity_id.as_deref()),
            ..Subject::default()
        }
    }
}

/// The spellcheck of an essay ended, successfully or not: `status` says which.
#[derive(Debug, Deserialize)]
pub struct SpellcheckCompletedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The batch, as the deployed producer names it.
    pub parent_id: Option<String>,
    /// The essay.
    pub essay_id: Option<String>,
    /// The essay, as the deployed producer names it.
    pub entity_id: Option<String>,
    /// Number of corrections.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub corrections_count: Option<u64>,
    /// Number of corrections, as the deployed producer names it.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub corrections_made: Option<u64>,
    /// Whether the check succeeded.
    pub status: Option<String>,
}

/// Notification data for [`SpellcheckCompletedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct SpellcheckCompletedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// The essay.
    pub essay_id: Option<String>,
    /// Number of corrections.
    pub corrections_count: Option<u64>,
    /// The service with the results.
    pub service: &'static str,
    /// Whether results can be loaded.
    pub results_available: bool,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for SpellcheckCompletedData {
    const EVENT: &'static str = "spellcheck_completed";
    const CATEGORY: Category = Category::ProcessingResults;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for SpellcheckCompletedV1 {
    type Data = SpellcheckCompletedData;

    const TYPE: &'static str = "huleedu.essay.spellcheck.completed.v1";
    const TOPIC: Topic = Topic { setting: "SPELLCHECK_COMPLETED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.batch_id.as_deref().or(self.parent_id.as_deref()),
            essay: self.essay_id.as_deref().or(self.entity_id.as_deref()),
            ..Subject::default()
        }
    }
}
