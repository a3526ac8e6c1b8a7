//! Owners of batches and classes: stated by events, and waited for.

use super::*;

#[tokio::test]
async fn an_event_waits_for_its_owner_and_is_dead_lettered_when_the_wait_expires() {
    let pipeline = Pipeline::new();
    let envelope = json!({"event_type": "huleedu.els.batch.phase.outcome.v1",
        "data": {"batch_id": "b", "phase_name": "spellcheck"}});
    let envelope = envelope.to_string();
    let batch = || OwnedEntity::Batch("b".into());
    let keys = vec![OrderingKey::Entity(batch())];
    let parked = Outcome::parked(ParkReason::OwnerUnknown, keys, None);
    assert_eq!(pipeline.process(record(envelope.as_bytes())).await, parked);
    let last_try = Record { wait_expired: true, ..record(envelope.as_bytes()) };
    let outcome = pipeline.process(last_try).await;
    let Outcome::DeadLetter(rejection) = outcome else { panic!("{outcome:?} without an owner") };
    assert_eq!(rejection.reason, DeadLetterReason::RecipientUnknown);
    pipeline.set_owner(batch(), "u");
    assert_eq!(pipeline.process(last_try).await, Outcome::Published);
}

#[tokio::test]
async fn an_event_that_is_too_old_still_states_an_owner_and_looks_up_none() {
    let pipeline = Pipeline::with_max_age(Some(Duration::from_hours(1)));
    let stating = class_created_for_u();
    let asking = json!({"event_type": "huleedu.els.batch.phase.outcome.v1",
        "data": {"batch_id": "b"}});
    let asking = asking.to_string();
    let written_at = Some(at("2024-01-01T00:00:00Z"));
    let old = |value| Record { written_at, ..record(value) };
    let outcomes = pipeline.process_batch(&[old(stating.as_bytes()), old(asking.as_bytes())]).await;
    assert_eq!(outcomes.unwrap(), [const { Outcome::Ignored(IgnoreReason::TooOld) }; 2]);
    let directory = &pipeline.dispatcher.directory;
    let owner = directory.owners.lock().unwrap().get(&OwnedEntity::Class("c".into())).cloned();
    assert_eq!(owner.unwrap().as_str(), "u");
    assert_eq!(directory.requests.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_id_too_long_for_a_key_is_neither_stored_nor_looked_up() {
    let pipeline = Pipeline::new();
    let long = "b".repeat(257);
    let stating = class_created(&json!({"class_id": long, "user_id": "u"}));
    assert_eq!(pipeline.process_envelope(&stating).await, Outcome::Published);
    let asking = json!({"event_type": "huleedu.els.batch.phase.outcome.v1",
        "data": {"batch_id": long}});
    let outcome = pipeline.process_envelope(&asking).await;
    let Outcome::DeadLetter(rejection) = outcome else { panic!("{outcome:?} without an owner") };
    assert_eq!(rejection.reason, DeadLetterReason::RecipientUnknown);
    assert!(pipeline.dispatcher.directory.owners.lock().unwrap().is_empty());
}
