//! Single essays and their files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{Event, Subject, Topic, batch::ErrorDetail, json};
use crate::notification::{Category, NotificationData, Priority};

/// The content of a file has been stored.
#[derive(Debug, Deserialize)]
pub struct EssayContentProvisionedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The batch, as the deployed producer names it.
    pub entity_id: Option<String>,
    /// Id of the upload.
    pub file_upload_id: Option<String>,
    /// Name of the uploaded file.
    pub filename: Option<String>,
    /// Name of the uploaded file, as the deployed producer names it.
    pub original_file_name: Option<String>,
}

/// Notification data for [`EssayContentProvisionedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct EssayContentProvisionedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Id of the upload.
    pub file_upload_id: Option<String>,
    /// Name of the uploaded file.
    pub filename: Option<String>,
    /// Text for the user.
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
pub struct EssayValidationFailedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The batch, as the deployed producer names it.
    pub entity_id: Option<String>,
    /// Id of the upload.
    pub file_upload_id: Option<String>,
    /// Name of the uploaded file.
    pub filename: Option<String>,
    /// Name of the uploaded file, as the deployed producer names it.
    pub original_file_name: Option<String>,
    /// Code of the error.
    pub error_code: Option<String>,
    /// Code of the error, as the deployed producer names it.
    pub validation_error_code: Option<String>,
    /// Description of the error for the user.
    pub error_message: Option<String>,
    /// The error, as the deployed producer describes it.
    #[serde(default, deserialize_with = "json::object")]
    pub validation_error_detail: Option<ErrorDetail>,
}

/// Notification data for [`EssayValidationFailedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct EssayValidationFailedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Id of the upload.
    pub file_upload_id: Option<String>,
    /// Name of the uploaded file.
    pub filename: Option<String>,
    /// Code of the error.
    pub error_code: Option<String>,
    /// Description of the error for the user.
    pub error_message: Option<String>,
    /// Text for the user.
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

/// An essay was associated with a student; without a student the association was removed.
#[derive(Debug, Deserialize)]
pub struct EssayStudentAssociationUpdatedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The essay.
    pub essay_id: Option<String>,
    /// The student.
    pub student_id: Option<String>,
    /// How the association was made.
    pub association_method: Option<String>,
    /// Confidence in the match, as the producer sent it.
    #[serde(default, deserialize_with = "json::number")]
    pub confidence_score: Option<Number>,
}

/// Notification data for [`EssayStudentAssociationUpdatedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct EssayStudentAssociationUpdatedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// The essay.
    pub essay_id: Option<String>,
    /// The student.
    pub student_id: Option<String>,
    /// How the association was made.
    pub association_method: Option<String>,
    /// Confidence in the match, as the producer sent it.
    pub confidence_score: Option<Number>,
    /// Text for the user.
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
