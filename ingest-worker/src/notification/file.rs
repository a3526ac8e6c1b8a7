//! Files of a batch.

use shared::{
    events::file::{BatchFile, BatchFileAddedV1, BatchFileData, BatchFileRemovedV1},
    notification::{Category, Notification, Priority},
    time::Timestamp,
};

use super::Notify;

impl Notify for BatchFileAddedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        Some(file_changed("batch_file_added", self.0, at))
    }
}

impl Notify for BatchFileRemovedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        Some(file_changed("batch_file_removed", self.0, at))
    }
}

fn file_changed(event: &'static str, file: BatchFile, at: Timestamp) -> Notification {
    let BatchFile { batch_id, file_upload_id, filename } = file;
    let data = BatchFileData { batch_id, file_upload_id, filename };
    Notification::new(event, Category::FileOperations, Priority::Standard, at, data)
}
