//! Records that cannot be processed: each becomes a dead letter and harms no other.

use super::*;

#[tokio::test]
async fn a_bad_record_is_dead_lettered_and_the_next_record_is_published() {
    let pipeline = Pipeline::new();
    let good = class_created_for_u();
    let no_subject = class_created(&json!({"user_id": "u"})).to_string();
    let wrong_type = class_created(&json!({"class_id": 7, "user_id": "u"})).to_string();
    let bad_user = class_created(&json!({"class_id": "c", "user_id": "a\r\nb"})).to_string();
    let lone =
        r#"{"event_type":"huleedu.class.created.v1","data":{"class_id":"\ud800","user_id":"u"}}"#;
    let huge = r#"{"event_type":"huleedu.student.created.v1","data":{"student_id":1e400}}"#;
    let values: [(&[u8], &str); 9] = [
        (b"", "not_json"),
        (b"not json", "not_json"),
        (b"[1,2]", "no_envelope"),
        (no_subject.as_bytes(), "malformed"),
        (wrong_type.as_bytes(), "malformed"),
        (bad_user.as_bytes(), "malformed"),
        (lone.as_bytes(), "malformed"),
        (huge.as_bytes(), "malformed"),
        (good.as_bytes(), "published"),
    ];
    let result = |outcome: Outcome| match outcome {
        Outcome::DeadLetter(rejection) => rejection.reason.label(),
        outcome => outcome.kind().expect("nothing waits").label(),
    };
    let outcomes = pipeline.process_batch(&values.map(|(value, _)| record(value))).await.unwrap();
    let results: Vec<&str> = outcomes.into_iter().map(result).collect();
    assert_eq!(results, values.map(|(_, expected)| expected));
}

#[tokio::test]
async fn a_tombstone_is_not_json() {
    let outcome = Pipeline::new().process(Record::default()).await;
    let is_not_json =
        matches!(&outcome, Outcome::DeadLetter(r) if r.reason == DeadLetterReason::NotJson);
    assert!(is_not_json, "{outcome:?}");
}
