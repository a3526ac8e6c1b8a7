//! How a batch comes along, as the essay lifecycle service reports it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CountedList, Event, Subject, Topic, json};
use crate::notification::{Category, NotificationData, Priority};

/// All essays of a batch are there.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct BatchEssaysReadyV1 {
    pub batch_id: Option<String>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub essay_count: Option<u64>,
    pub ready_essays: Option<CountedList>,
}

/// What a browser receives of [`BatchEssaysReadyV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct BatchEssaysReadyData {
    pub batch_id: Option<String>,
    pub essay_count: Option<u64>,
    pub status: &'static str,
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
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct BatchValidationErrorsV1 {
    pub batch_id: Option<String>,
    #[serde(default, deserialize_with = "json::objects")]
    pub validation_errors: Option<Vec<ValidationError>>,
    #[serde(default, deserialize_with = "json::objects")]
    pub failed_essays: Option<Vec<FailedEssay>>,
}

/// An essay of [`BatchValidationErrorsV1`] as the deployed service describes it. Its details,
/// stack trace and service names are left where they are: not even read.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct FailedEssay {
    pub essay_id: Option<String>,
    pub file_name: Option<String>,
    #[serde(default, deserialize_with = "json::object")]
    pub error_detail: Option<ErrorDetail>,
}

/// The part of a producer's error that users may see.
#[derive(Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct ErrorDetail {
    pub error_code: Option<String>,
    pub message: Option<String>,
}

/// One error, as the design's producers send it and as a browser receives it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct ValidationError {
    pub essay_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    pub error_code: Option<String>,
    pub message: Option<String>,
}

/// What a browser receives of [`BatchValidationErrorsV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct BatchValidationErrorsData {
    pub batch_id: Option<String>,
    pub validation_errors: Option<Vec<ValidationError>>,
    pub error_count: Option<usize>,
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
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct BatchContentProvisioningCompletedV1 {
    pub batch_id: Option<String>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub provisioned_count: Option<u64>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub expected_count: Option<u64>,
}

/// What a browser receives of [`BatchContentProvisioningCompletedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct BatchContentProvisioningCompletedData {
    pub batch_id: Option<String>,
    pub provisioned_count: Option<u64>,
    pub expected_count: Option<u64>,
    pub status: Option<&'static str>,
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
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct ElsBatchPhaseOutcomeV1 {
    pub batch_id: Option<String>,
    pub phase: Option<String>,
    pub phase_name: Option<String>,
    pub outcome_status: Option<String>,
    pub phase_status: Option<String>,
}

/// What a browser receives of [`ElsBatchPhaseOutcomeV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct BatchPhaseOutcomeData {
    pub batch_id: Option<String>,
    pub phase: Option<String>,
    pub outcome_status: Option<String>,
    pub status: Option<String>,
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

/// A batch was registered. Nobody is told; it teaches who owns the batch and its class.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct BatchEssaysRegisteredV1 {
    /// The batch.
    pub entity_id: Option<String>,
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
