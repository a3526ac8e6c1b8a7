//! Classes and students, from the class management service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Subject, Topic};
use crate::notification::{Category, NotificationData, Priority};

/// A class was created.
#[derive(Debug, Deserialize)]
pub struct ClassCreatedV1 {
    /// The class.
    pub class_id: Option<String>,
    /// Name of the class.
    pub class_designation: Option<String>,
    /// Codes of the courses of the class.
    pub course_codes: Option<Vec<String>>,
}

/// Notification data for [`ClassCreatedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClassCreatedData {
    /// The class.
    pub class_id: Option<String>,
    /// Name of the class.
    pub class_designation: Option<String>,
    /// Codes of the courses of the class.
    pub course_codes: Option<Vec<String>>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for ClassCreatedData {
    const EVENT: &'static str = "class_created";
    const CATEGORY: Category = Category::ClassManagement;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for ClassCreatedV1 {
    type Data = ClassCreatedData;

    const TYPE: &'static str = "huleedu.class.created.v1";
    const TOPIC: Topic = Topic { setting: "CLASS_CREATED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject { class: self.class_id.as_deref(), ..Subject::default() }
    }
}

/// A student was created.
#[derive(Debug, Deserialize)]
pub struct StudentCreatedV1 {
    /// The student.
    pub student_id: Option<String>,
    /// First name of the student.
    pub first_name: Option<String>,
    /// Last name of the student.
    pub last_name: Option<String>,
    /// The class.
    pub class_id: Option<String>,
    /// The classes of the student.
    pub class_ids: Option<Vec<String>>,
}

/// Notification data for [`StudentCreatedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct StudentCreatedData {
    /// The student.
    pub student_id: Option<String>,
    /// Full name of the student.
    pub student_name: Option<String>,
    /// The class.
    pub class_id: Option<String>,
    /// The classes of the student.
    pub class_ids: Option<Vec<String>>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for StudentCreatedData {
    const EVENT: &'static str = "student_created";
    const CATEGORY: Category = Category::ClassManagement;
    const PRIORITY: Priority = Priority::Low;
}

impl StudentCreatedV1 {
    /// Returns the class of the student if there is exactly one.
    #[must_use]
    pub fn only_class(&self) -> Option<&str> {
        self.class_id.as_deref().or(match self.class_ids.as_deref() {
            Some([only]) => Some(only),
            _ => None,
        })
    }
}

impl Event for StudentCreatedV1 {
    type Data = StudentCreatedData;

    const TYPE: &'static str = "huleedu.class.student.created.v1";
    const ALIASES: &'static [&'static str] = &["huleedu.student.created.v1"];
    const TOPIC: Topic = Topic { setting: "STUDENT_CREATED_TOPIC", default: Self::ALIASES[0] };
    const OTHER_TOPICS: &'static [&'static str] = &[Self::TYPE];

    fn subject(&self) -> Subject<'_> {
        Subject {
            class: self.only_class(),
            student: self.student_id.as_deref(),
            ..Subject::default()
        }
    }
}
