//! Checks the properties on generated input and on the corpus of the fuzz targets.

use std::{fs, path::Path};

use properties::{records, texts, tokens};
use proptest::{collection::vec, prelude::*, sample::Index, sample::select, test_runner::Config};
use serde_json::{Map, Value, json};

/// Takes seconds for all properties; the fuzz targets run longer.
fn config() -> Config {
    Config { cases: 512, failure_persistence: None, ..Config::default() }
}

fn fixtures() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures");
    let read =
        |path| serde_json::from_slice::<Value>(&fs::read(path).expect("a fixture")).expect("JSON");
    fs::read_dir(folder)
        .expect("fixtures")
        .map(|entry| read(entry.expect("a file").path()))
        .collect()
}

/// Returns every envelope of the fixtures.
fn envelopes() -> Vec<Value> {
    let cases = |fixture: Value| fixture["cases"].as_array().cloned().unwrap_or_default();
    fixtures().into_iter().flat_map(cases).map(|case| case["envelope"].clone()).collect()
}

/// Returns every key and event type of the fixtures.
fn vocabulary() -> Vec<String> {
    let mut words = Vec::new();
    for fixture in fixtures() {
        words.extend(fixture["event_type"].as_str().map(str::to_owned));
    }
    for envelope in envelopes() {
        for object in [&envelope, &envelope["data"], &envelope["metadata"]] {
            words.extend(object.as_object().into_iter().flat_map(Map::keys).cloned());
        }
    }
    words
}

/// Any JSON, mostly with words of the vocabulary.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![select(vocabulary()), ".{0,12}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        Just(json!("2025-08-06T09:15:30")),
    ];
    leaf.prop_recursive(5, 40, 8, move |inner| {
        let fields = vec((word.clone(), inner.clone()), 0..8);
        prop_oneof![
            vec(inner, 0..5).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Collects JSON pointers to every part of a value.
fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Array(items) => {
            (0..).zip(items).for_each(|(at, item)| pointers(item, &format!("{here}/{at}"), all));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, field)| pointers(field, &format!("{here}/{key}"), all));
        }
        _ => {}
    }
}

/// A valid event with some parts replaced by any JSON.
fn changed_event() -> impl Strategy<Value = Value> {
    let changes = vec((any::<Index>(), any_json()), 1..4);
    (select(envelopes()), changes).prop_map(|(mut envelope, changes)| {
        for (at, value) in changes {
            let mut all = Vec::new();
            pointers(&envelope, "", &mut all);
            // A key with a slash makes an invalid pointer, which changes nothing.
            if let Some(place) = envelope.pointer_mut(at.get::<String>(&all)) {
                *place = value;
            }
        }
        envelope
    })
}

/// The text of a valid event, truncated, with some bytes changed.
fn damaged_event() -> impl Strategy<Value = Vec<u8>> {
    let damage = vec((any::<Index>(), any::<u8>()), 0..4);
    (select(envelopes()), any::<Index>(), damage).prop_map(|(envelope, end, damage)| {
        let mut text = envelope.to_string().into_bytes();
        for (at, byte) in damage {
            let at = at.index(text.len());
            text[at] = byte;
        }
        text.truncate(end.index(text.len() * 2));
        text
    })
}

/// Claims similar to those of a valid token.
fn any_claims() -> impl Strategy<Value = Value> {
    let end =
        prop_oneof![Just(json!(4_102_444_800_u64)), any::<i64>().prop_map(Value::from), any_json()];
    let subject =
        prop_oneof![Just(json!("teacher-42")), ".{0,300}".prop_map(Value::from), any_json()];
    let other = vec((select(vec!["nbf", "iat", "typ", "jti", "aud", "iss"]), any_json()), 0..3);
    (end, subject, other).prop_map(|(end, subject, other)| {
        let mut claims = json!({"exp": end, "sub": subject});
        for (name, value) in other {
            claims[name] = value;
        }
        claims
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_have_an_outcome(value in vec(any::<u8>(), 0..300)) {
        records::check_record(&value);
    }

    #[test]
    fn any_json_has_an_outcome(value in any_json()) {
        records::check_record(value.to_string().as_bytes());
    }

    #[test]
    fn a_valid_event_with_replaced_parts_has_an_outcome(event in changed_event()) {
        records::check_record(event.to_string().as_bytes());
    }

    #[test]
    fn a_damaged_event_has_an_outcome(value in damaged_event()) {
        records::check_record(&value);
    }

    #[test]
    fn any_text_is_parsed_or_ignored(text in ".{0,100}") {
        texts::check_text(&text);
    }

    #[test]
    fn any_client_message_is_parsed_or_ignored(
        kind in select(vec!["ping", "auth", "filter", "pong"]),
        name in select(vec!["token", "categories", "category"]),
        value in any_json(),
    ) {
        texts::check_text(&json!({"type": kind, name: value}).to_string());
    }

    #[test]
    fn a_position_parses_to_what_was_formatted(ms in any::<u64>(), seq in any::<u64>()) {
        texts::check_text(&format!("{ms}-{seq}"));
        texts::check_text(&format!("{{\"id\":\"{ms}-{seq}\",\"event\":\"e\"}}"));
    }

    #[test]
    fn any_bytes_instead_of_a_token_are_rejected(input in vec(any::<u8>(), 0..200)) {
        tokens::check_token(&input);
    }

    #[test]
    fn a_signed_token_yields_exactly_its_claims(claims in any_claims()) {
        tokens::check_token(format!("{{\"alg\":\"HS256\"}}\n{claims}").as_bytes());
    }
}

/// Returns the stored inputs of a fuzz target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(folder).expect("a corpus");
    let inputs: Vec<_> =
        files.map(|file| fs::read(file.expect("a file").path()).expect("an input")).collect();
    assert!(inputs.len() >= 10, "{target} has only {} inputs", inputs.len());
    inputs
}

#[test]
fn the_corpus_satisfies_the_properties() {
    for input in corpus("records") {
        records::check_record(&input);
    }
    for input in corpus("tokens") {
        tokens::check_token(&input);
    }
    for input in corpus("texts") {
        texts::check_text(&String::from_utf8_lossy(&input));
    }
}

#[test]
fn deeply_nested_input_is_handled() {
    for open in ["[", "{\"a\":", "[{\"a\":", "\"\\"] {
        let deep = open.repeat(20_000);
        records::check_record(deep.as_bytes());
        texts::check_text(&deep);
        tokens::check_token(deep.as_bytes());
        for name in ["payload", "user_id", "batch_id", "unread"] {
            let closed = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
            for event_type in vocabulary().iter().filter(|word| word.contains('.')) {
                let event =
                    format!("{{\"event_type\":\"{event_type}\",\"data\":{{\"{name}\":{closed}}}}}");
                records::check_record(event.as_bytes());
            }
        }
    }
}

#[test]
fn payloads_passed_on_without_parsing_are_valid_json() {
    let request = |payload: &str| {
        format!(
            "{{\"event_type\":\"huleedu.notification.teacher.requested.v1\",\"data\":{{\
             \"teacher_id\":\"t\",\"notification_type\":\"n\",\"category\":\"system_alerts\",\
             \"priority\":\"high\",\"payload\":{{\"x\":{payload}}}}}}}"
        )
    };
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for payload in ["1", "1e400", "\"\\ud800\"", &deep, "{\"a\":[null]}"] {
        records::check_record(request(payload).as_bytes());
    }
}
