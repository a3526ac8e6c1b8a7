//! Single essays and their files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{Event, Subject, Topic, batch::ErrorDetail, json};
use crate::notification::{Category, NotificationData, Priority};

/// The content of a file has been stored.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct EssayContentProvisionedV1 {
    pub batch_id: Option<String>,
    /// The batch, as the deployed service names it.
    pub entity_id: Option<String>,
    pub file_upload_id: Option<String>,
    pub filename: Option<String>,
    pub original_file_name: Option<String>,
}

/// What a browser receives of [`EssayContentProvisionedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct EssayContentProvisionedData {
    pub batch_id: Option<String>,
    pub file_upload_id: Option<String>,
    pub filename: Option<String>,
    pub message: String,
}

impl NotificationData for EssayContentProvisionedData {
    const EVENT: &'static str = "essay_content_provisioned";
    const CATEGORY: Category = Category::FileOperations;
    const PRIORITY: Priority = Priority::Low;
}

impl Event for EssayContentProvisionedV1 {
    type Data = EssayContentProvisionedData;

    const TYPE: &'static str = "huleedu.file.essay.content.provisioned.v1";
    const ALIASES: &'static [&'static str] = &["huleedu.essay.content.provisioned.v1"];
    const TOPIC: Topic =
        Topic { setting: "ESSAY_CONTENT_PROVISIONED_TOPIC", default: Self::ALIASES[0] };
    const OTHER_TOPICS: &'static [&'static str] = &[Self::TYPE];

    fn subject(&self) -> Subject<'_> {
        let batch = self.batch_id.as_deref().or(self.entity_id.as_deref());
        Subject { batch, ..Subject::default() }
    }
}

/// The content of a file cannot be used.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct EssayValidationFailedV1 {
    pub batch_id: Option<String>,
    /// The batch, as the deployed service names it.
    pub entity_id: Option<String>,
    pub file_upload_id: Option<String>,
    pub filename: Option<String>,
    pub original_file_name: Option<String>,
    pub error_code: Option<String>,
    pub validation_error_code: Option<String>,
    pub error_message: Option<String>,
    #[serde(default, deserialize_with = "json::object")]
    pub validation_error_detail: Option<ErrorDetail>,
}

/// What a browser receives of [`EssayValidationFailedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct EssayValidationFailedData {
    pub batch_id: Option<String>,
    pub file_upload_id: Option<String>,
    pub filename: Option<String>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub message: String,
}

impl NotificationData for EssayValidationFailedData {
    const EVENT: &'static str = "essay_validation_failed";
    const CATEGORY: Category = Category::SystemAlerts;
    const PRIORITY: Priority = Priority::Immediate;
}

impl Event for EssayValidationFailedV1 {
    type Data = EssayValidationFailedData;

    const TYPE: &'static str = "huleedu.file.essay.validation.failed.v1";
    const ALIASES: &'static [&'static str] = &["huleedu.essay.validation.failed.v1"];
    const TOPIC: Topic =
        Topic { setting: "ESSAY_VALIDATION_FAILED_TOPIC", default: Self::ALIASES[0] };
    const OTHER_TOPICS: &'static [&'static str] = &[Self::TYPE];

    fn subject(&self) -> Subject<'_> {
        let batch = self.batch_id.as_deref().or(self.entity_id.as_deref());
        Subject { batch, ..Subject::default() }
    }
}

/// An essay was associated with a student; without a student, the association was removed.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct EssayStudentAssociationUpdatedV1 {
    pub batch_id: Option<String>,
    pub essay_id: Option<String>,
    pub student_id: Option<String>,
    pub association_method: Option<String>,
    #[serde(default, deserialize_with = "json::number")]
    pub confidence_score: Option<Number>,
}

/// What a browser receives of [`EssayStudentAssociationUpdatedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct EssayStudentAssociationUpdatedData {
    pub batch_id: Option<String>,
    pub essay_id: Option<String>,
    pub student_id: Option<String>,
    pub association_method: Option<String>,
    pub confidence_score: Option<Number>,
    pub message: String,
}

impl NotificationData for EssayStudentAssociationUpdatedData {
    const EVENT: &'static str = "essay_student_association_updated";
    const CATEGORY: Category = Category::StudentWorkflow;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for EssayStudentAssociationUpdatedV1 {
    type Data = EssayStudentAssociationUpdatedData;

    const TYPE: &'static str = "huleedu.class.essay.association.updated.v1";
    const ALIASES: &'static [&'static str] = &["huleedu.essay.student.association.updated.v1"];
    const TOPIC: Topic =
        Topic { setting: "ESSAY_STUDENT_ASSOCIATION_UPDATED_TOPIC", default: Self::ALIASES[0] };
    const OTHER_TOPICS: &'static [&'static str] = &[Self::TYPE];

    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.batch_id.as_deref(),
            essay: self.essay_id.as_deref(),
            student: self.student_id.as_deref(),
            ..Subject::default()
        }
    }
}
