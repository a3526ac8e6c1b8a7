//! Notifications of a batch's files.

use shared::{
    events::file::{
        BatchFile, BatchFileAddedData, BatchFileAddedV1, BatchFileData, BatchFileRemovedData,
        BatchFileRemovedV1,
    },
    notification::Notification,
    time::Timestamp,
};

use super::Notify;

impl Notify for BatchFileAddedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        Some(Notification::from_data(at, BatchFileAddedData(visible_fields(self.0))))
    }
}

impl Notify for BatchFileRemovedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        Some(Notification::from_data(at, BatchFileRemovedData(visible_fields(self.0))))
    }
}

fn visible_fields(file: BatchFile) -> BatchFileData {
    let BatchFile { batch_id, file_upload_id, filename } = file;
    BatchFileData { batch_id, file_upload_id, filename }
}
