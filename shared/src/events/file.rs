//! Files of a batch, from the file service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Subject, Topic};
use crate::notification::{Category, NotificationData, Priority};

/// A file was added to a batch.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct BatchFileAddedV1(pub BatchFile);

/// A file was removed from a batch.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct BatchFileRemovedV1(pub BatchFile);

/// The payload of both events.
#[derive(Debug, Deserialize)]
pub struct BatchFile {
    /// The batch.
    pub batch_id: Option<String>,
    /// Id of the upload.
    pub file_upload_id: Option<String>,
    /// Name of the uploaded file.
    pub filename: Option<String>,
}

/// Notification data for [`BatchFileAddedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct BatchFileAddedData(pub BatchFileData);

/// Notification data for [`BatchFileRemovedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct BatchFileRemovedData(pub BatchFileData);

/// Notification data for both events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct BatchFileData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Id of the upload.
    pub file_upload_id: Option<String>,
    /// Name of the uploaded file.
    pub filename: Option<String>,
}

impl NotificationData for BatchFileAddedData {
    const EVENT: &'static str = "batch_file_added";
    const CATEGORY: Category = Category::FileOperations;
    const PRIORITY: Priority = Priority::Standard;
}

impl NotificationData for BatchFileRemovedData {
    const EVENT: &'static str = "batch_file_removed";
    const CATEGORY: Category = Category::FileOperations;
    const PRIORITY: Priority = Priority::Standard;
}

impl BatchFile {
    fn subject(&self) -> Subject<'_> {
        Subject { batch: self.batch_id.as_deref(), ..Subject::default() }
    }
}

impl Event for BatchFileAddedV1 {
    type Data = BatchFileAddedData;

    const TYPE: &'static str = "huleedu.file.batch.file.added.v1";
    const TOPIC: Topic = Topic { setting: "BATCH_FILE_ADDED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        self.0.subject()
    }
}

impl Event for BatchFileRemovedV1 {
    type Data = BatchFileRemovedData;

    const TYPE: &'static str = "huleedu.file.batch.file.removed.v1";
    const TOPIC: Topic = Topic { setting: "BATCH_FILE_REMOVED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        self.0.subject()
    }
}
