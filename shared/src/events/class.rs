//! Classes and their students, as the class management service reports them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Event, Subject, Topic};
use crate::notification::{Category, NotificationData, Priority};

/// A class was created.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct ClassCreatedV1 {
    pub class_id: Option<String>,
    pub class_designation: Option<String>,
    pub course_codes: Option<Vec<String>>,
}

/// What a browser receives of [`ClassCreatedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct ClassCreatedData {
    pub class_id: Option<String>,
    pub class_designation: Option<String>,
    pub course_codes: Option<Vec<String>>,
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
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct StudentCreatedV1 {
    pub student_id: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub class_id: Option<String>,
    pub class_ids: Option<Vec<String>>,
}

/// What a browser receives of [`StudentCreatedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct StudentCreatedData {
    pub student_id: Option<String>,
    pub student_name: Option<String>,
    pub class_id: Option<String>,
    pub class_ids: Option<Vec<String>>,
    pub message: String,
}

impl NotificationData for StudentCreatedData {
    const EVENT: &'static str = "student_created";
    const CATEGORY: Category = Category::ClassManagement;
    const PRIORITY: Priority = Priority::Low;
}

impl StudentCreatedV1 {
    /// The student's class, where there is just one.
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
