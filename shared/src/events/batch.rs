//! Progress of a batch, from the essay lifecycle service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CountedList, Event, Subject, Topic, json};
use crate::notification::{Category, NotificationData, Priority};

/// All essays of a batch have arrived.
#[derive(Debug, Deserialize)]
pub struct BatchEssaysReadyV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// Number of essays in the batch.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub essay_count: Option<u64>,
    /// The essays of the batch; only their number is used.
    pub ready_essays: Option<CountedList>,
}

/// Notification data for [`BatchEssaysReadyV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchEssaysReadyData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Number of essays in the batch.
    pub essay_count: Option<u64>,
    /// Status of the batch.
    pub status: &'static str,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for BatchEssaysReadyData {
    const EVENT: &'static str = "batch_essays_ready";
    const CATEGORY: Category = Category::BatchProgress;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for BatchEssaysReadyV1 {
    type Data = BatchEssaysReadyData;

    const TYPE: &'static str = "huleedu.batch.essays.ready.v1";
    const ALIASES: &'static [&'static str] = &["huleedu.els.batch.essays.ready.v1"];
    const TOPIC: Topic = Topic { setting: "BATCH_ESSAYS_READY_TOPIC", default: Self::TYPE };
    const OTHER_TOPICS: &'static [&'static str] = Self::ALIASES;

    fn subject(&self) -> Subject<'_> {
        Subject { batch: self.batch_id.as_deref(), ..Subject::default() }
    }
}

/// Some essays of a batch cannot be used.
#[derive(Debug, Deserialize)]
pub struct BatchValidationErrorsV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// One entry per essay with an error.
    #[serde(default, deserialize_with = "json::objects")]
    pub validation_errors: Option<Vec<ValidationError>>,
    /// One entry per essay with an error, as the deployed producer names it.
    #[serde(default, deserialize_with = "json::objects")]
    pub failed_essays: Option<Vec<FailedEssay>>,
}

/// An essay of [`BatchValidationErrorsV1`] as the deployed producer describes it. Details, stack
/// trace and service names are not parsed, so they cannot leave the worker.
#[derive(Debug, Deserialize)]
pub struct FailedEssay {
    /// The essay.
    pub essay_id: Option<String>,
    /// Name of the uploaded file.
    pub file_name: Option<String>,
    /// The error of this essay.
    #[serde(default, deserialize_with = "json::object")]
    pub error_detail: Option<ErrorDetail>,
}

/// The part of a producer's error that users may see.
#[derive(Debug, Default, Deserialize)]
pub struct ErrorDetail {
    /// Code of the error.
    pub error_code: Option<String>,
    /// Description of the error for the user.
    pub message: Option<String>,
}

/// One error, as producers send it and browsers receive it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct ValidationError {
    /// The essay.
    pub essay_id: Option<String>,
    /// Name of the uploaded file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Code of the error.
    pub error_code: Option<String>,
    /// Description of the error for the user.
    pub message: Option<String>,
}

/// Notification data for [`BatchValidationErrorsV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchValidationErrorsData {
    /// The batch.
    pub batch_id: Option<String>,
    /// One entry per essay with an error.
    pub validation_errors: Option<Vec<ValidationError>>,
    /// Number of essays with an error.
    pub error_count: Option<usize>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for BatchValidationErrorsData {
    const EVENT: &'static str = "batch_validation_errors";
    const CATEGORY: Category = Category::SystemAlerts;
    const PRIORITY: Priority = Priority::Immediate;
}

impl Event for BatchValidationErrorsV1 {
    type Data = BatchValidationErrorsData;

    const TYPE: &'static str = "huleedu.batch.validation.errors.v1";
    const ALIASES: &'static [&'static str] = &["huleedu.els.batch.validation.errors.v1"];
    const TOPIC: Topic = Topic { setting: "BATCH_VALIDATION_ERRORS_TOPIC", default: Self::TYPE };
    const OTHER_TOPICS: &'static [&'static str] = Self::ALIASES;

    fn subject(&self) -> Subject<'_> {
        Subject { batch: self.batch_id.as_deref(), ..Subject::default() }
    }
}

/// The contents of a batch's files have been stored.
#[derive(Debug, Deserialize)]
pub struct BatchContentProvisioningCompletedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// Number of essays whose content is stored.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub provisioned_count: Option<u64>,
    /// Number of essays expected in the batch.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub expected_count: Option<u64>,
}

/// Notification data for [`BatchContentProvisioningCompletedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchContentProvisioningCompletedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Number of essays whose content is stored.
    pub provisioned_count: Option<u64>,
    /// Number of essays expected in the batch.
    pub expected_count: Option<u64>,
    /// Status of the batch.
    pub status: Option<&'static str>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for BatchContentProvisioningCompletedData {
    const EVENT: &'static str = "batch_content_provisioning_completed";
    const CATEGORY: Category = Category::BatchProgress;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for BatchContentProvisioningCompletedV1 {
    type Data = BatchContentProvisioningCompletedData;

    const TYPE: &'static str = "huleedu.batch.content.provisioning.completed.v1";
    const ALIASES: &'static [&'static str] =
        &["huleedu.els.batch.content.provisioning.completed.v1"];
    const TOPIC: Topic =
        Topic { setting: "BATCH_CONTENT_PROVISIONING_COMPLETED_TOPIC", default: Self::TYPE };
    const OTHER_TOPICS: &'static [&'static str] = Self::ALIASES;

    fn subject(&self) -> Subject<'_> {
        Subject { batch: self.batch_id.as_deref(), ..Subject::default() }
    }
}

/// A phase of a batch's processing has ended.
#[derive(Debug, Deserialize)]
pub struct ElsBatchPhaseOutcomeV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The phase that ended.
    pub phase: Option<String>,
    /// The phase that ended, as the deployed producer names it.
    pub phase_name: Option<String>,
    /// How the phase ended.
    pub outcome_status: Option<String>,
    /// How the phase ended, as the deployed producer names it.
    pub phase_status: Option<String>,
}

/// Notification data for [`ElsBatchPhaseOutcomeV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchPhaseOutcomeData {
    /// The batch.
    pub batch_id: Option<String>,
    /// The phase that ended.
    pub phase: Option<String>,
    /// How the phase ended.
    pub outcome_status: Option<String>,
    /// Same as `outcome_status`, under the name that deployed frontends read.
    pub status: Option<String>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for BatchPhaseOutcomeData {
    const EVENT: &'static str = "batch_phase_outcome";
    const CATEGORY: Category = Category::BatchProgress;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for ElsBatchPhaseOutcomeV1 {
    type Data = BatchPhaseOutcomeData;

    const TYPE: &'static str = "huleedu.els.batch.phase.outcome.v1";
    const TOPIC: Topic = Topic { setting: "BATCH_PHASE_OUTCOME_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject { batch: self.batch_id.as_deref(), ..Subject::default() }
    }
}

/// A batch was registered. Not notified: only the owner of the batch and its class is recorded.
#[derive(Debug, Deserialize)]
pub struct BatchEssaysRegisteredV1 {
    /// The batch.
    pub entity_id: Option<String>,
    /// The class.
    pub class_id: Option<String>,
}

impl Event for BatchEssaysRegisteredV1 {
    type Data = ();

    const TYPE: &'static str = "huleedu.batch.essays.registered.v1";
    const TOPIC: Topic = Topic { setting: "BATCH_ESSAYS_REGISTERED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.entity_id.as_deref(),
            class: self.class_id.as_deref(),
            ..Subject::default()
        }
    }
}
