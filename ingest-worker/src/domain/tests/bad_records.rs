//! Records that cannot be processed: each becomes a dead letter and harms no other.

use super::*;

#[tokio::test]
async fn a_bad_record_is_dead_lettered_and_the_next_record_is_published() {
    let pipeline = Pipeline::new();
    let [good, next] = [class_created_for_u(), class_created_for_u()];
    let no_subject = class_created(&json!({"user_id": "u"})).to_string();
    let wrong_type = class_created(&json!({"class_id": 7, "user_id": "u"})).to_string();
    let bad_user = class_created(&json!({"class_id": "c", "user_id": "a\r\nb"})).to_string();
    let lone =
        r#"{"event_type":"huleedu.class.created.v1","data":{"class_id":"\ud800","user_id":"u"}}"#;
    let huge = r#"{"event_type":"huleedu.student.created.v1","data":{"student_id":1e400}}"#;
    let array =
        br#"["huleedu.class.created.v1",{"class_id":"c","user_id":"u"},null,null,null,null,null]"#;
    let mut largest = good.clone();
    largest.push_str(&" ".repeat((1 << 20) - good.len()));
    let too_large = format!("{largest} ");
    let values: [(&[u8], &str); 12] = [
        (b"", "not_json"),
        (b"not json", "not_json"),
        (b"[1,2]", "no_envelope"),
        (array, "no_envelope"),
        (no_subject.as_bytes(), "malformed"),
        (wrong_type.as_bytes(), "malformed"),
        (bad_user.as_bytes(), "malformed"),
        (lone.as_bytes(), "malformed"),
        (huge.as_bytes(), "malformed"),
        (too_large.as_bytes(), "malformed"),
        (largest.as_bytes(), "published"),
        (next.as_bytes(), "published"),
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
async fn a_record_that_makes_the_worker_panic_is_dead_lettered_and_the_next_one_is_published() {
    let pipeline = Pipeline::new();
    let now = at("2025-08-06T10:00:00Z");
    let panics = pipeline.classifier.classify_caught(|| panic!("a defect"), now);
    let next = pipeline.classify(&record(class_created_for_u().as_bytes()));
    let (batch, held) = ([panics, next], HeldKeys::default());
    let (outcomes, _) = pipeline.dispatcher.dispatch(&batch, &held, &[], false).await.unwrap();
    let Outcome::DeadLetter(rejection) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(rejection.reason, DeadLetterReason::Internal);
    assert_eq!(outcomes[1], Outcome::Published);
}

#[tokio::test]
async fn a_tombstone_is_not_json() {
    let outcome = Pipeline::new().process(Record::default()).await;
    let is_not_json =
        matches!(&outcome, Outcome::DeadLetter(r) if r.reason == DeadLetterReason::NotJson);
    assert!(is_not_json, "{outcome:?}");
}

#[tokio::test]
async fn an_array_in_the_place_of_a_nested_object_is_malformed() {
    let pipeline = Pipeline::new();
    for (event_type, field, array) in [
        ("huleedu.batch.validation.errors.v1", "validation_errors", json!([["e", "f", "c", "m"]])),
        ("huleedu.batch.validation.errors.v1", "failed_essays", json!([["e", "f", null]])),
        ("huleedu.batch.author.matches.suggested.v1", "suggested_matches", json!([["e", "s", 1]])),
        ("huleedu.batch.author.matches.suggested.v1", "match_results", json!([["e", []]])),
        ("huleedu.class.student.associations.confirmed.v1", "validation_summary", json!([3])),
        ("huleedu.cj_assessment.failed.v1", "system_metadata", json!([{"reason": "r"}])),
        ("huleedu.file.essay.validation.failed.v1", "validation_error_detail", json!(["c", "m"])),
        ("huleedu.class.created.v1", "metadata", json!(["2025-08-06T09:15:30Z"])),
    ] {
        let data = json!({"batch_id": "b", "class_id": "c", "user_id": "u", field: array});
        let envelope = json!({"event_type": event_type, "data": data});
        let outcome = pipeline.process_envelope(&envelope).await;
        let is_malformed =
            matches!(&outcome, Outcome::DeadLetter(r) if r.reason == DeadLetterReason::Malformed);
        assert!(is_malformed, "{field}: {outcome:?}");
    }
}

#[tokio::test]
async fn whole_numbers_are_read_in_any_spelling_and_other_numbers_are_null() {
    let pipeline = Pipeline::new();
    for (number, expected) in [
        ("3.0", json!(3)),
        ("1e2", json!(100)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-0", json!(0)),
        ("-1", Value::Null),
        ("2.5", Value::Null),
        ("18446744073709551616", Value::Null),
        ("1e400", Value::Null),
        (r#""NaN""#, Value::Null),
        (r#""-Infinity""#, Value::Null),
    ] {
        let envelope = format!(
            r#"{{"event_type":"huleedu.batch.essays.ready.v1",
                "data":{{"batch_id":"b","user_id":"u","essay_count":{number}}}}}"#
        );
        let outcome = pipeline.process(record(envelope.as_bytes())).await;
        assert_eq!(outcome, Outcome::Published, "{number}");
        assert_eq!(pipeline.published().last().unwrap()["data"]["essay_count"], expected);
    }
    for wrong_type in [r#""3""#, "true", "[3]", "{}"] {
        let envelope = format!(
            r#"{{"event_type":"huleedu.batch.essays.ready.v1",
                "data":{{"batch_id":"b","user_id":"u","essay_count":{wrong_type}}}}}"#
        );
        let outcome = pipeline.process(record(envelope.as_bytes())).await;
        assert!(matches!(outcome, Outcome::DeadLetter(_)), "{wrong_type}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_list_of_any_length_becomes_a_notification_of_bounded_size() {
    let pipeline = Pipeline::new();
    for (event_type, field, count) in [
        ("huleedu.batch.author.matches.suggested.v1", "suggested_matches", 300_000),
        ("huleedu.batch.validation.errors.v1", "validation_errors", 300_000),
    ] {
        let list = vec![json!({}); count];
        let data = json!({"batch_id": "b", "user_id": "u", field: list});
        let envelope = json!({"event_type": event_type, "data": data});
        assert_eq!(pipeline.process_envelope(&envelope).await, Outcome::Published);
        let length = pipeline.publisher().published.lock().unwrap().last().unwrap().text.len();
        assert!((32 << 10..=64 << 10).contains(&length), "{field}: {length} bytes");
        let data = &pipeline.published().pop().unwrap()["data"];
        assert_eq!(data["truncated"], true);
        assert_eq!(data[format!("{field}_count")], count);
    }
    let data = json!({"class_id": "c".repeat(1 << 16), "user_id": "u"});
    let outcome = pipeline.process_envelope(&class_created(&data)).await;
    let Outcome::DeadLetter(rejection) = outcome else { panic!("published: {outcome:?}") };
    assert_eq!(rejection.detail, "the notification is too large (limit: 65536 bytes)");
}
