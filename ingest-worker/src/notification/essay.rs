//! Notifications of single essays and their files.

use shared::{
    events::essay::{
        EssayContentProvisionedData, EssayContentProvisionedV1, EssayStudentAssociationUpdatedData,
        EssayStudentAssociationUpdatedV1, EssayValidationFailedData, EssayValidationFailedV1,
    },
    notification::Notification,
    time::Timestamp,
};

use super::Notify;

impl Notify for EssayContentProvisionedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let filename = self.filename.or(self.original_file_name);
        let data = EssayContentProvisionedData {
            batch_id: self.batch_id.or(self.entity_id),
            file_upload_id: self.file_upload_id,
            message: format!("Content of {} is ready", filename.as_deref().unwrap_or("a file")),
            filename,
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for EssayValidationFailedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let filename = self.filename.or(self.original_file_name);
        let detail = self.validation_error_detail.unwrap_or_default();
        let error_message = self.error_message.or(detail.message);
        let name = filename.as_deref().unwrap_or("A file");
        let data = EssayValidationFailedData {
            batch_id: self.batch_id.or(self.entity_id),
            file_upload_id: self.file_upload_id,
            message: match &error_message {
                Some(reason) => format!("{name} could not be used: {reason}"),
                None => format!("{name} could not be used"),
            },
            filename,
            error_code: self.error_code.or(self.validation_error_code).or(detail.error_code),
            error_message,
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for EssayStudentAssociationUpdatedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let message = match self.student_id {
            Some(_) => "Essay associated with a student",
            None => "Essay association removed",
        };
        let data = EssayStudentAssociationUpdatedData {
            batch_id: self.batch_id,
            essay_id: self.essay_id,
            student_id: self.student_id,
            association_method: self.association_method,
            confidence_score: self.confidence_score,
            message: message.into(),
        };
        Some(Notification::from_data(at, data))
    }
}
