//! Notifications of classes and their students.

use shared::{
    events::class::{ClassCreatedData, ClassCreatedV1, StudentCreatedData, StudentCreatedV1},
    notification::Notification,
    time::Timestamp,
};

use super::Notify;

impl Notify for ClassCreatedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let data = ClassCreatedData {
            class_id: self.class_id,
            message: match &self.class_designation {
                Some(name) => format!("Class {name} created"),
                None => "Class created".into(),
            },
            class_designation: self.class_designation,
            course_codes: self.course_codes,
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for StudentCreatedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let names = [self.first_name.as_deref(), self.last_name.as_deref()];
        let names: Vec<&str> =
            names.into_iter().flatten().filter(|name| !name.is_empty()).collect();
        let student_name = (!names.is_empty()).then(|| names.join(" "));
        let data = StudentCreatedData {
            message: match &student_name {
                Some(name) => format!("Student {name} created"),
                None => "Student created".into(),
            },
            student_name,
            class_id: self.only_class().map(str::to_owned),
            student_id: self.student_id,
            class_ids: self.class_ids,
        };
        Some(Notification::from_data(at, data))
    }
}
