//! Matching of essays with students.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{CountedList, Event, Subject, Topic, json};
use crate::{
    notification::{Category, NotificationData, Priority},
    time::{Timestamp, TimestampSchema},
};

/// Suggested matches of essays with students are ready for confirmation by a teacher.
#[derive(Debug, Deserialize)]
pub struct BatchAuthorMatchesSuggestedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The class.
    pub class_id: Option<String>,
    /// `batch`, or `essay` from a legacy producer.
    pub entity_type: Option<String>,
    /// The batch.
    pub entity_id: Option<String>,
    /// The best suggestion for each essay.
    #[serde(default, deserialize_with = "json::objects")]
    pub suggested_matches: Option<Vec<SuggestedMatch>>,
    /// All suggestions for each essay, as the deployed producer sends them.
    #[serde(default, deserialize_with = "json::objects")]
    pub match_results: Option<Vec<MatchResult>>,
    /// When unconfirmed matches are confirmed automatically.
    pub confirmation_deadline: Option<String>,
}

/// The suggestions for one essay, as the deployed producer sends them.
#[derive(Debug, Deserialize)]
pub struct MatchResult {
    /// The essay.
    pub essay_id: Option<String>,
    /// Suggested students, best first.
    #[serde(default, deserialize_with = "json::objects")]
    pub suggestions: Option<Vec<StudentSuggestion>>,
}

/// A student who may have written the essay.
#[derive(Debug, Deserialize)]
pub struct StudentSuggestion {
    /// The student.
    pub student_id: Option<String>,
    /// Confidence in the match, as the producer sent it.
    #[serde(default, deserialize_with = "json::number")]
    pub confidence_score: Option<Number>,
}

/// The suggested match for one essay, as producers send it and browsers receive it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct SuggestedMatch {
    /// The essay.
    pub essay_id: Option<String>,
    /// The suggested student.
    pub suggested_student_id: Option<String>,
    /// Confidence in the match, as the producer sent it.
    #[serde(default, deserialize_with = "json::number")]
    pub confidence_score: Option<Number>,
}

/// Notification data for [`BatchAuthorMatchesSuggestedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct StudentMatchesSuggestedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// The class.
    pub class_id: Option<String>,
    /// The best suggestion for each essay.
    pub suggested_matches: Option<Vec<SuggestedMatch>>,
    /// When unconfirmed matches are confirmed automatically.
    #[schemars(with = "TimestampSchema")]
    pub confirmation_deadline: Timestamp,
    /// Path of the page where a teacher confirms the matches.
    pub confirmation_url: Option<String>,
    /// Text for the user.
    pub message: String,
    /// Whether the user has to act.
    pub action_required: bool,
}

impl NotificationData for StudentMatchesSuggestedData {
    const EVENT: &'static str = "student_matches_suggested";
    const CATEGORY: Category = Category::StudentWorkflow;
    const PRIORITY: Priority = Priority::Immediate;
}

impl BatchAuthorMatchesSuggestedV1 {
    /// Returns whether the event is about one essay: a legacy producer reports essays one by one,
    /// under a batch id that exists nowhere else.
    #[must_use]
    pub fn is_about_one_essay(&self) -> bool {
        self.entity_type.as_deref() == Some("essay")
    }
}

impl Event for BatchAuthorMatchesSuggestedV1 {
    type Data = StudentMatchesSuggestedData;

    const TYPE: &'static str = "huleedu.batch.author.matches.suggested.v1";
    const TOPIC: Topic = Topic { setting: "STUDENT_MATCHES_SUGGESTED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        if self.is_about_one_essay() {
            return Subject { essay: self.entity_id.as_deref(), ..Subject::default() };
        }
        Subject {
            batch: self.batch_id.as_deref(),
            class: self.class_id.as_deref(),
            ..Subject::default()
        }
    }
}

/// A teacher confirmed the matches of a batch.
#[derive(Debug, Deserialize)]
pub struct StudentAssociationsConfirmedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// The class.
    pub class_id: Option<String>,
    /// Number of confirmed associations.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub confirmed_count: Option<u64>,
    /// Counts, as the deployed producer sends them.
    #[serde(default, deserialize_with = "json::object")]
    pub validation_summary: Option<ValidationSummary>,
    /// The associations; only their number is used.
    pub associations: Option<CountedList>,
}

/// The counts of [`StudentAssociationsConfirmedV1`], as the deployed producer sends them.
#[derive(Debug, Deserialize)]
pub struct ValidationSummary {
    /// Number of confirmed associations.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub confirmed: Option<u64>,
}

/// Notification data for [`StudentAssociationsConfirmedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct StudentAssociationsConfirmedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Number of confirmed associations.
    pub confirmed_count: Option<u64>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for StudentAssociationsConfirmedData {
    const EVENT: &'static str = "student_associations_confirmed";
    const CATEGORY: Category = Category::StudentWorkflow;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for StudentAssociationsConfirmedV1 {
    type Data = StudentAssociationsConfirmedData;

    const TYPE: &'static str = "huleedu.class.student.associations.confirmed.v1";
    const TOPIC: Topic =
        Topic { setting: "STUDENT_ASSOCIATIONS_CONFIRMED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject {
            batch: self.batch_id.as_deref(),
            class: self.class_id.as_deref(),
            ..Subject::default()
        }
    }
}

/// The confirmation deadline passed and the matches were confirmed automatically.
#[derive(Debug, Deserialize)]
pub struct ValidationTimeoutProcessedV1 {
    /// The batch.
    pub batch_id: Option<String>,
    /// Number of associations that were confirmed automatically.
    #[serde(default, deserialize_with = "json::whole_number")]
    pub auto_confirmed_count: Option<u64>,
    /// The associations; only their number is used.
    pub auto_confirmed_associations: Option<CountedList>,
}

/// Notification data for [`ValidationTimeoutProcessedV1`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct ValidationTimeoutProcessedData {
    /// The batch.
    pub batch_id: Option<String>,
    /// Number of associations that were confirmed automatically.
    pub auto_confirmed_count: Option<u64>,
    /// Text for the user.
    pub message: String,
}

impl NotificationData for ValidationTimeoutProcessedData {
    const EVENT: &'static str = "validation_timeout_processed";
    const CATEGORY: Category = Category::StudentWorkflow;
    const PRIORITY: Priority = Priority::Standard;
}

impl Event for ValidationTimeoutProcessedV1 {
    type Data = ValidationTimeoutProcessedData;

    const TYPE: &'static str = "huleedu.class.validation.timeout.processed.v1";
    const TOPIC: Topic =
        Topic { setting: "VALIDATION_TIMEOUT_PROCESSED_TOPIC", default: Self::TYPE };

    fn subject(&self) -> Subject<'_> {
        Subject { batch: self.batch_id.as_deref(), ..Subject::default() }
    }
}
