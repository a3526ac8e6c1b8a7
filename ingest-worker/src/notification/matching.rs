//! Notifications of the matching of essays with students.

use jiff::SignedDuration;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use shared::{
    events::{
        count_or_len,
        matching::{
            BatchAuthorMatchesSuggestedV1, MatchResult, StudentAssociationsConfirmedData,
            StudentAssociationsConfirmedV1, StudentMatchesSuggestedData, SuggestedMatch,
            ValidationTimeoutProcessedData, ValidationTimeoutProcessedV1,
        },
    },
    notification::Notification,
    time::{self, Timestamp},
};

use super::Notify;

/// Time to confirm matches where the event has no deadline.
const TIME_TO_CONFIRM: SignedDuration = SignedDuration::from_hours(24);

impl Notify for BatchAuthorMatchesSuggestedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        if self.is_about_one_essay() {
            return None;
        }
        let best = |results: Vec<MatchResult>| results.into_iter().filter_map(best_match).collect();
        let suggested_matches: Option<Vec<SuggestedMatch>> =
            self.suggested_matches.or_else(|| self.match_results.map(best));
        let confirmation_deadline = deadline(self.confirmation_deadline.as_deref(), at);
        let hours = (confirmation_deadline.duration_since(at).as_secs() + 1_800) / 3_600;
        let within = if hours > 0 { format!(" within {hours} hours") } else { String::new() };
        let data = StudentMatchesSuggestedData {
            message: match &suggested_matches {
                Some(matches) => format!("Please review {} student matches{within}", matches.len()),
                None => format!("Please review student matches{within}"),
            },
            confirmation_url: self.batch_id.as_deref().map(confirmation_url),
            batch_id: self.batch_id,
            class_id: self.class_id,
            suggested_matches,
            confirmation_deadline,
            action_required: true,
        };
        Some(Notification::from_data(at, data))
    }
}

fn deadline(stated: Option<&str>, at: Timestamp) -> Timestamp {
    stated
        .and_then(time::parse)
        .or_else(|| at.checked_add(TIME_TO_CONFIRM).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Returns the suggestion with the highest confidence; `None` if there are no suggestions.
fn best_match(result: MatchResult) -> Option<SuggestedMatch> {
    let mut best = None;
    let mut best_score = f64::NEG_INFINITY;
    for suggestion in result.suggestions? {
        let score = suggestion.confidence_score.as_ref().and_then(serde_json::Number::as_f64);
        let score = score.unwrap_or(0.0);
        if score > best_score {
            (best, best_score) = (Some(suggestion), score);
        }
    }
    best.map(|suggestion| SuggestedMatch {
        essay_id: result.essay_id,
        suggested_student_id: suggestion.student_id,
        confidence_score: suggestion.confidence_score,
    })
}

/// What is escaped in a segment of a path: also the dot, as `..` leads out of the path.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Returns the path on which a frontend confirms the matches of a batch, whose id is any text.
fn confirmation_url(batch_id: &str) -> String {
    format!("/batches/{}/confirm-matches", utf8_percent_encode(batch_id, PATH_SEGMENT))
}

impl Notify for StudentAssociationsConfirmedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let in_summary = self.validation_summary.and_then(|summary| summary.confirmed);
        let confirmed_count =
            count_or_len(self.confirmed_count.or(in_summary), self.associations.as_ref());
        let data = StudentAssociationsConfirmedData {
            batch_id: self.batch_id,
            confirmed_count,
            message: match confirmed_count {
                Some(confirmed) => format!("{confirmed} student associations confirmed"),
                None => "Student associations confirmed".into(),
            },
        };
        Some(Notification::from_data(at, data))
    }
}

impl Notify for ValidationTimeoutProcessedV1 {
    fn notify(self, at: Timestamp) -> Option<Notification> {
        let auto_confirmed_count =
            count_or_len(self.auto_confirmed_count, self.auto_confirmed_associations.as_ref());
        let data = ValidationTimeoutProcessedData {
            batch_id: self.batch_id,
            auto_confirmed_count,
            message: match auto_confirmed_count {
                Some(matches) => format!("Validation timeout: {matches} matches auto-confirmed"),
                None => "Validation timeout: matches auto-confirmed".into(),
            },
        };
        Some(Notification::from_data(at, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> String {
        let event: BatchAuthorMatchesSuggestedV1 = serde_json::from_str(payload).unwrap();
        let at = time::parse("2025-08-06T09:00:00Z").unwrap();
        let user = shared::user::UserId::new("u").unwrap();
        let text = event.notify(at).unwrap().to_json(&user);
        let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
        frame["data"]["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_hours_to_confirm_are_those_until_the_deadline() {
        assert_eq!(
            message(r#"{"suggested_matches":[],"confirmation_deadline":"2025-08-08T09:00:00Z"}"#),
            "Please review 0 student matches within 48 hours"
        );
        assert_eq!(
            message(r#"{"confirmation_deadline":"2025-08-01T09:00:00Z"}"#),
            "Please review student matches"
        );
        assert_eq!(
            message(r#"{"confirmation_deadline":"soon"}"#),
            "Please review student matches within 24 hours"
        );
    }

    #[test]
    fn the_suggestion_with_the_highest_confidence_is_chosen_at_any_position() {
        let result: MatchResult = serde_json::from_str(
            r#"{"essay_id":"e","suggestions":[{"student_id":"a","confidence_score":0.2},
                {"student_id":"b","confidence_score":0.9},{"student_id":"c"}]}"#,
        )
        .unwrap();
        assert_eq!(best_match(result).unwrap().suggested_student_id.as_deref(), Some("b"));
    }

    #[test]
    fn a_batch_id_stays_one_segment_of_the_url() {
        assert_eq!(confirmation_url("../a?b#c"), "/batches/%2E%2E%2Fa%3Fb%23c/confirm-matches");
    }
}
