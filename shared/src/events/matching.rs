//! Matching essays with students.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{CountedList, Event, Subject, Topic, json};
use crate::{
    notification::{Category, NotificationData, Priority},
    time::{Timestamp, TimestampSchema},
};

/// Suggestions which student wrote which essay wait for a teacher's word.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct BatchAuthorMatchesSuggestedV1 {
    pub batch_id: Option<String>,
    pub class_id: Option<String>,
    /// What the suggestions are about: a batch, or, from a legacy producer, one essay.
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    #[serde(default, deserialize_with = "json::objects")]
    pub suggested_matches: Option<Vec<SuggestedMatch>>,
    #[serde(default, deserialize_with = "json::objects")]
    pub match_results: Option<Vec<MatchResult>>,
    pub confirmation_deadline: Option<String>,
}

/// The suggestions for one essay as the deployed service sends them.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct MatchResult {
    pub essay_id: Option<String>,
    #[serde(default, deserialize_with = "json::objects")]
    pub suggestions: Option<Vec<StudentSuggestion>>,
}

/// One student that an essay may belong to.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct StudentSuggestion {
    pub student_id: Option<String>,
    #[serde(default, deserialize_with = "json::number")]
    pub confidence_score: Option<Number>,
}

/// The match suggested for one essay, as the design's producers send it and as a browser
/// receives it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct SuggestedMatch {
    pub essay_id: Option<String>,
    pub suggested_student_id: Option<String>,
    #[serde(default, deserialize_with = "json::number")]
    pub confidence_score: Option<Number>,
}

/// What a browser receives of [`BatchAuthorMatchesSuggestedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct StudentMatchesSuggestedData {
    pub batch_id: Option<String>,
    pub class_id: Option<String>,
    pub suggested_matches: Option<Vec<SuggestedMatch>>,
    #[schemars(with = "TimestampSchema")]
    pub confirmation_deadline: Timestamp,
    pub confirmation_url: Option<String>,
    pub message: String,
    pub action_required: bool,
}

impl NotificationData for StudentMatchesSuggestedData {
    const EVENT: &'static str = "student_matches_suggested";
    const CATEGORY: Category = Category::StudentWorkflow;
    const PRIORITY: Priority = Priority::Immediate;
}

impl BatchAuthorMatchesSuggestedV1 {
    /// A legacy producer reports each essay on its own, under a batch id that it makes up.
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

/// The matches of a batch have been confirmed.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct StudentAssociationsConfirmedV1 {
    pub batch_id: Option<String>,
    pub class_id: Option<String>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub confirmed_count: Option<u64>,
    #[serde(default, deserialize_with = "json::object")]
    pub validation_summary: Option<ValidationSummary>,
    pub associations: Option<CountedList>,
}

/// The counts of [`StudentAssociationsConfirmedV1`] as the deployed service sends them.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct ValidationSummary {
    #[serde(default, deserialize_with = "json::whole_number")]
    pub confirmed: Option<u64>,
}

/// What a browser receives of [`StudentAssociationsConfirmedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct StudentAssociationsConfirmedData {
    pub batch_id: Option<String>,
    pub confirmed_count: Option<u64>,
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

/// Nobody confirmed in time, so the matches were confirmed automatically.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the producer's words")]
pub struct ValidationTimeoutProcessedV1 {
    pub batch_id: Option<String>,
    #[serde(default, deserialize_with = "json::whole_number")]
    pub auto_confirmed_count: Option<u64>,
    pub auto_confirmed_associations: Option<CountedList>,
}

/// What a browser receives of [`ValidationTimeoutProcessedV1`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are the contract's words")]
pub struct ValidationTimeoutProcessedData {
    pub batch_id: Option<String>,
    pub auto_confirmed_count: Option<u64>,
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
