//! Results of the checks and assessments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Subject, Topic, json};
use crate::notification::{Category, NotificationData, Priority};

/// A comparative judgement of a batch has been made.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct CjAssessmentCompletedV1 {
    pub batch_id: Option<String>,
    /// The batch, as the deployed service names it.
    pub entity_id: Option<String>,
    pub assessment_id: Option<String>,
    pub cj_assessment_job_id: Option<String>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub comparison_count: Option<u64>,
}

/// What a browser receives of [`CjAssessmentCompletedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct CjAssessmentCompletedData {
    pub batch_id: Option<String>,
    pub assessment_id: Option<String>,
    pub comparison_count: Option<u64>,
    pub service: &'static str,
    pub results_available: bool,
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

/// A comparative judgement of a batch could not be made.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct CjAssessmentFailedV1 {
    pub batch_id: Option<String>,
    /// The batch, as the deployed service names it.
    pub entity_id: Option<String>,
    pub error_message: Option<String>,
    #[serde(default, deserialize_with = "json::object")]
    pub system_metadata: Option<SystemMetadata>,
}

/// Where the deployed service keeps what went wrong.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct SystemMetadata {
    #[serde(default, deserialize_with = "json::object")]
    pub error_info: Option<ErrorInfo>,
}

/// The part of it that users may see: a message, or a reason in its place.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct ErrorInfo {
    pub error_message: Option<String>,
    pub reason: Option<String>,
}

/// What a browser receives of [`CjAssessmentFailedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct CjAssessmentFailedData {
    pub batch_id: Option<String>,
    pub error_message: Option<String>,
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

/// The spelling of an essay has been checked, or could not be: the type says both.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct SpellcheckCompletedV1 {
    pub batch_id: Option<String>,
    /// The batch, as the deployed service names it.
    pub parent_id: Option<String>,
    pub essay_id: Option<String>,
    /// The essay, as the deployed service names it.
    pub entity_id: Option<String>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub corrections_count: Option<u64>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub corrections_made: Option<u64>,
    pub status: Option<String>,
}

/// What a browser receives of [`SpellcheckCompletedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct SpellcheckCompletedData {
    pub batch_id: Option<String>,
    pub essay_id: Option<String>,
    pub corrections_count: Option<u64>,
    pub service: &'static str,
    pub results_available: bool,
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
