use std::{collections::BTreeSet, fs, path::PathBuf, sync::atomic::Ordering};

use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{
        recipients::FakeDirectory,
        routes::{NotificationSource, ROUTES},
    },
    notification::publisher::FakePublisher,
};

type TestProcessor = Processor<FakePublisher, FakeDirectory>;

fn processor() -> TestProcessor {
    let routes = Routes::new(NotificationSource::Both, |topic| topic.default.to_owned());
    let (publisher, directory) = (FakePublisher::default(), FakeDirectory::default());
    Processor::new(routes, IdentityRule::EventId, None, publisher, directory)
}

fn now() -> Timestamp {
    time::parse("2025-08-06T10:00:00Z").unwrap()
}

/// The outcomes of some envelopes that were read from `topic`.
async fn outcomes(processor: &TestProcessor, topic: &str, values: &[&[u8]]) -> Vec<Outcome> {
    let record = |value| Record { topic, value: Some(value), ..Record::default() };
    let verdicts: Vec<Verdict> =
        values.iter().map(|value| processor.judge(&record(value), now())).collect();
    processor.deliver(&verdicts).await.unwrap()
}

async fn outcome(processor: &TestProcessor, envelope: &Value) -> Outcome {
    outcomes(processor, "any", &[envelope.to_string().as_bytes()]).await.remove(0)
}

fn class_created(data: &Value) -> Value {
    json!({"event_type": "huleedu.class.created.v1", "event_id": Uuid::new_v4(), "data": data})
}

/// The texts published so far.
fn published(processor: &TestProcessor) -> Vec<Value> {
    let deliveries = processor.publisher.published.lock().unwrap();
    deliveries.iter().map(|delivery| serde_json::from_str(&delivery.text).unwrap()).collect()
}

fn fixtures() -> Vec<(PathBuf, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let fixture = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path, fixture)
    };
    paths.into_iter().map(read).collect()
}

fn texts(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn owned(key: &str) -> Owned {
    match key.split_once(':').unwrap() {
        ("batch", id) => Owned::Batch(id.to_owned()),
        ("class", id) => Owned::Class(id.to_owned()),
        (kind, _) => panic!("a fixture names the owner of a {kind}"),
    }
}

#[tokio::test]
async fn every_case_of_every_fixture_comes_out_as_written() {
    let mut cases = 0;
    for (path, fixture) in fixtures() {
        for case in fixture["cases"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let processor = processor();
            for (key, user) in case["owners"].as_object().unwrap() {
                let user = UserId::new(user.as_str().unwrap()).unwrap();
                processor.directory.owners.lock().unwrap().insert(owned(key), user);
            }
            let outcome = outcome(&processor, &case["envelope"]).await;
            let name = format!("{}: {}", path.display(), case["name"]);
            if case["notification"].is_null() {
                assert_eq!(outcome, Outcome::Ignored(Ignored::ByRule), "{name}");
            } else {
                assert_eq!(outcome, Outcome::Published, "{name}");
                assert_eq!(published(&processor), [case["notification"].clone()], "{name}");
            }
            cases += 1;
        }
    }
    assert!(cases >= 37, "only {cases} cases were found");
}

#[test]
fn every_row_has_a_fixture_and_every_fixture_a_row() {
    let row = |route: &super::super::routes::Route| {
        let topics = std::iter::once(&route.topic.default).chain(route.other_topics);
        let topics: BTreeSet<String> = topics.map(|topic| (*topic).to_owned()).collect();
        let aliases: BTreeSet<String> = route.aliases.iter().map(|a| (*a).to_owned()).collect();
        (route.event_type.to_owned(), aliases, topics)
    };
    let fixture = |(_, fixture): (PathBuf, Value)| {
        let event_type = fixture["event_type"].as_str().unwrap().to_owned();
        (event_type, texts(&fixture["event_type_aliases"]), texts(&fixture["topics"]))
    };
    let rows: BTreeSet<_> = ROUTES.iter().map(row).collect();
    assert_eq!(rows, fixtures().into_iter().map(fixture).collect());
}

#[tokio::test]
async fn the_registration_of_a_batch_teaches_its_owner_and_tells_nobody() {
    let (_, fixture) =
        fixtures().into_iter().find(|(path, _)| path.ends_with("ownership.json")).unwrap();
    let processor = processor();
    let outcome = outcome(&processor, &fixture["envelope"]).await;
    assert_eq!(outcome, Outcome::Ignored(Ignored::ByRule));
    let learned = processor.directory.owners.lock().unwrap().clone();
    let teaches = fixture["teaches"].as_object().unwrap();
    assert_eq!(learned.len(), teaches.len());
    for (key, user) in teaches {
        assert_eq!(learned[&owned(key)].as_str(), user.as_str().unwrap());
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_dead_lettered_and_the_next_record_is_unharmed() {
    let processor = processor();
    let good = class_created(&json!({"class_id": "c", "user_id": "u"})).to_string();
    let no_subject = class_created(&json!({"user_id": "u"})).to_string();
    let wrong_type = class_created(&json!({"class_id": 7, "user_id": "u"})).to_string();
    let bad_user = class_created(&json!({"class_id": "c", "user_id": "a\r\nb"})).to_string();
    let lone =
        r#"{"event_type":"huleedu.class.created.v1","data":{"class_id":"\ud800","user_id":"u"}}"#;
    let huge = r#"{"event_type":"huleedu.student.created.v1","data":{"student_id":1e400}}"#;
    let values: [&[u8]; 9] = [
        b"",
        b"not json",
        b"[1,2]",
        no_subject.as_bytes(),
        wrong_type.as_bytes(),
        bad_user.as_bytes(),
        lone.as_bytes(),
        huge.as_bytes(),
        good.as_bytes(),
    ];
    let reason = |outcome| match outcome {
        Outcome::DeadLetter(rejection) => rejection.reason.label(),
        outcome => outcome.end().map_or("waiting", crate::domain::record::End::label),
    };
    let reasons: Vec<&str> =
        outcomes(&processor, "any", &values).await.into_iter().map(reason).collect();
    let malformed = ["malformed"; 5];
    let expected = [&["not_json", "not_json", "no_envelope"], &malformed[..], &["published"]];
    assert_eq!(reasons, expected.concat());
}

#[tokio::test]
async fn a_tombstone_is_no_json() {
    let processor = processor();
    let verdict = processor.judge(&Record::default(), now());
    let outcomes = processor.deliver(&[verdict]).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::DeadLetter(r) if r.reason == Reason::NotJson));
}

#[tokio::test]
async fn an_unknown_type_is_read_as_its_topic_says_and_else_ignored() {
    let processor = processor();
    let envelope = json!({"event_type": "v2", "data": {"class_id": "c", "user_id": "u"}});
    let envelope = envelope.to_string();
    let on = async |topic| outcomes(&processor, topic, &[envelope.as_bytes()]).await.remove(0);
    assert_eq!(on("huleedu.class.created.v1").await, Outcome::Published);
    assert_eq!(on("elsewhere").await, Outcome::Ignored(Ignored::NoRoute));
}

#[tokio::test]
async fn the_same_event_is_published_once_and_the_header_names_it() {
    let processor = processor();
    let envelope = class_created(&json!({"class_id": "c", "user_id": "u"}));
    assert_eq!(outcome(&processor, &envelope).await, Outcome::Published);
    assert_eq!(outcome(&processor, &envelope).await, Outcome::Duplicate);
    let (value, id) = (envelope.to_string(), Uuid::new_v4().to_string());
    let record = Record { value: Some(value.as_bytes()), event_id: Some(&id), ..Record::default() };
    let verdict = processor.judge(&record, now());
    assert_eq!(processor.deliver(&[verdict]).await.unwrap(), [Outcome::Published]);
    assert_eq!(published(&processor)[1]["event_id"], id);
}

#[tokio::test]
async fn an_event_waits_for_its_owner_and_is_given_up_when_patience_ends() {
    let processor = processor();
    let envelope = json!({"event_type": "huleedu.els.batch.phase.outcome.v1",
        "data": {"batch_id": "b", "phase_name": "spellcheck"}});
    assert_eq!(outcome(&processor, &envelope).await, Outcome::OwnerUnknown);
    let value = envelope.to_string();
    let last_try =
        Record { value: Some(value.as_bytes()), out_of_patience: true, ..Record::default() };
    let deliver = async || {
        let verdict = processor.judge(&last_try, now());
        processor.deliver(&[verdict]).await.unwrap().remove(0)
    };
    let Outcome::DeadLetter(rejection) = deliver().await else { panic!("nobody owns it") };
    assert_eq!(rejection.reason, Reason::RecipientUnknown);
    let owner = UserId::new("u").unwrap();
    processor.directory.owners.lock().unwrap().insert(Owned::Batch("b".into()), owner);
    assert_eq!(deliver().await, Outcome::Published);
}

#[tokio::test]
async fn a_record_older_than_the_limit_is_ignored() {
    let mut processor = processor();
    processor.max_age = Some(Duration::from_hours(1));
    let envelope = class_created(&json!({"class_id": "c", "user_id": "u"})).to_string();
    for (written_at, expected) in [
        ("2025-08-06T08:59:59Z", Outcome::Ignored(Ignored::TooOld)),
        ("2025-08-06T09:00:01Z", Outcome::Published),
        ("2026-01-01T00:00:00Z", Outcome::Duplicate),
    ] {
        let record = Record {
            value: Some(envelope.as_bytes()),
            written_at: time::parse(written_at),
            ..Record::default()
        };
        let verdict = processor.judge(&record, now());
        assert_eq!(processor.deliver(&[verdict]).await.unwrap(), [expected], "{written_at}");
    }
}

#[tokio::test]
async fn a_time_that_is_none_falls_back_to_the_envelope_then_to_the_record() {
    let processor = processor();
    for (timestamp, event_timestamp, expected) in [
        ("2025-08-06T09:15:30", "2025-08-06T09:15:31Z", "2025-08-06T09:15:30Z"),
        ("soon", "2025-08-06T09:15:31Z", "2025-08-06T09:15:31Z"),
        ("soon", "later", "2025-08-06T09:15:32Z"),
    ] {
        let mut envelope =
            class_created(&json!({"class_id": "c", "user_id": "u", "timestamp": timestamp}));
        envelope["event_timestamp"] = event_timestamp.into();
        let value = envelope.to_string();
        let record = Record {
            value: Some(value.as_bytes()),
            written_at: time::parse("2025-08-06T09:15:32Z"),
            ..Record::default()
        };
        let verdict = processor.judge(&record, now());
        processor.deliver(&[verdict]).await.unwrap();
        assert_eq!(published(&processor).last().unwrap()["timestamp"], expected);
    }
}

#[tokio::test]
async fn a_failing_publisher_is_no_outcome_and_the_same_may_be_delivered_again() {
    let processor = processor();
    let envelope = class_created(&json!({"class_id": "c", "user_id": "u"})).to_string();
    let record = Record { value: Some(envelope.as_bytes()), ..Record::default() };
    let verdicts = [processor.judge(&record, now())];
    processor.publisher.fails.store(true, Ordering::Relaxed);
    assert!(processor.deliver(&verdicts).await.is_err());
    processor.publisher.fails.store(false, Ordering::Relaxed);
    assert_eq!(processor.deliver(&verdicts).await.unwrap(), [Outcome::Published]);
}

#[tokio::test]
async fn what_can_never_be_published_is_dead_lettered_and_the_rest_is_published() {
    let mut processor = processor();
    processor.publisher.refused = Some(UserId::new("}").unwrap());
    let class = |user: &str| class_created(&json!({"class_id": "c", "user_id": user})).to_string();
    let values = [class("u"), class("}"), class("v")];
    let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
    let outcomes = outcomes(&processor, "any", &values).await;
    let refused = Outcome::DeadLetter(Reason::Malformed.at("told to refuse"));
    assert_eq!(outcomes, [Outcome::Published, refused, Outcome::Published]);
}
