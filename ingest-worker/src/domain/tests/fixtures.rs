//! The fixtures of the contract: every event type, every case.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::*;
use crate::domain::routes::{ROUTES, Route};

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

fn owned(key: &str) -> OwnedEntity {
    match key.split_once(':').unwrap() {
        ("batch", id) => OwnedEntity::Batch(id.to_owned()),
        ("class", id) => OwnedEntity::Class(id.to_owned()),
        (kind, _) => panic!("unexpected kind of owned entity in a fixture: {kind}"),
    }
}

#[tokio::test]
async fn every_case_of_every_fixture_has_the_expected_notification() {
    let mut cases = 0;
    for (path, fixture) in fixtures() {
        for case in fixture["cases"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let pipeline = Pipeline::new();
            for (key, user) in case["owners"].as_object().unwrap() {
                pipeline.set_owner(owned(key), user.as_str().unwrap());
            }
            let outcome = pipeline.process_envelope(&case["envelope"]).await;
            let name = format!("{}: {}", path.display(), case["name"]);
            if case["notification"].is_null() {
                assert_eq!(outcome, Outcome::Ignored(IgnoreReason::ByRule), "{name}");
            } else {
                assert_eq!(outcome, Outcome::Published, "{name}");
                assert_eq!(pipeline.published(), [case["notification"].clone()], "{name}");
            }
            cases += 1;
        }
    }
    assert!(cases >= 37, "expected at least 37 cases, found {cases}");
}

#[test]
fn every_route_has_a_fixture_and_every_fixture_a_route() {
    let row = |route: &Route| {
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
async fn the_registration_of_a_batch_states_its_owner_and_is_no_notification() {
    let (_, fixture) =
        fixtures().into_iter().find(|(path, _)| path.ends_with("ownership.json")).unwrap();
    let pipeline = Pipeline::new();
    let outcome = pipeline.process_envelope(&fixture["envelope"]).await;
    assert_eq!(outcome, Outcome::Ignored(IgnoreReason::ByRule));
    let learned = pipeline.dispatcher.directory.owners.lock().unwrap().clone();
    let stated = fixture["teaches"].as_object().unwrap();
    assert_eq!(learned.len(), stated.len());
    for (key, user) in stated {
        assert_eq!(learned[&owned(key)].as_str(), user.as_str().unwrap());
    }
}
