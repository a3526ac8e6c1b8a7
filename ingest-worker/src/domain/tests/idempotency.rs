//! Which records are the same event.

use super::*;

#[tokio::test]
async fn an_event_is_published_once_and_a_header_may_carry_its_id() {
    let pipeline = Pipeline::new();
    let envelope = class_created_for_u();
    assert_eq!(pipeline.process(record(envelope.as_bytes())).await, Outcome::Published);
    assert_eq!(pipeline.process(record(envelope.as_bytes())).await, Outcome::Duplicate);
    let id = Uuid::new_v4().to_string();
    let with_header = Record { event_id: Some(&id), ..record(envelope.as_bytes()) };
    assert_eq!(pipeline.process(with_header).await, Outcome::Published);
    assert_eq!(pipeline.published()[1]["event_id"], id);
}

#[tokio::test]
async fn a_nil_event_id_counts_as_missing() {
    let pipeline = Pipeline::new();
    let nil = Uuid::nil().to_string();
    for class in ["a", "b"] {
        let mut envelope = class_created(&json!({"class_id": class, "user_id": "u"}));
        envelope["event_id"] = nil.clone().into();
        let value = envelope.to_string();
        assert_eq!(pipeline.process(record(value.as_bytes())).await, Outcome::Published);
        assert_eq!(pipeline.process(record(value.as_bytes())).await, Outcome::Duplicate);
    }
    assert_eq!(pipeline.published()[0]["event_id"], Value::Null);
}

#[tokio::test]
async fn events_of_two_types_with_one_event_id_are_both_published() {
    let pipeline = Pipeline::new();
    let mut envelope = class_created(&json!({"class_id": "c", "student_id": "s", "user_id": "u"}));
    assert_eq!(pipeline.process_envelope(&envelope).await, Outcome::Published);
    envelope["event_type"] = "huleedu.class.student.created.v1".into();
    assert_eq!(pipeline.process_envelope(&envelope).await, Outcome::Published);
}

#[tokio::test]
async fn a_header_that_is_no_uuid_does_not_hide_the_event_id_of_the_body() {
    let pipeline = Pipeline::new();
    let envelope = class_created(&json!({"class_id": "c", "user_id": "u"}));
    let value = envelope.to_string();
    for event_id in ["", "17", "00000000-0000-0000-0000-000000000000"] {
        let with_header = Record { event_id: Some(event_id), ..record(value.as_bytes()) };
        pipeline.process(with_header).await;
    }
    let published = pipeline.published();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0]["event_id"], envelope["event_id"]);
}
