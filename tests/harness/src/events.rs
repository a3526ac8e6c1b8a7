//! The events that are sent: the fixtures' cases, each time with ids of its own, so that one
//! scenario never meets the events of another.

use std::path::Path;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::{leaks::PAYLOAD_MARKER, workspace};

/// How many events the design has.
pub const DESIGNED: usize = 17;

/// Carries the events from which workers learn who owns a batch.
const REGISTRATION_TOPIC: &str = "huleedu.batch.essays.registered.v1";

/// One fixture case: what a producer sends and what a browser receives.
#[derive(Clone, Debug)]
pub struct Case {
    /// Where it is sent.
    pub topic: String,
    envelope: Value,
    notification: Value,
    registration: Value,
}

/// A case with fresh ids, ready to be sent.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where to send it.
    pub topic: String,
    /// Its identity.
    pub id: String,
    /// Whom it is for.
    pub user: String,
    /// The record's key.
    pub key: String,
    /// The record's value.
    pub envelope: Value,
    /// What the user receives, without the position that Redis gives it; null: nothing.
    pub notification: Value,
    registration: Value,
}

impl Case {
    /// The notification's `event`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.notification["event"].as_str().unwrap_or_default()
    }

    /// The notification's category.
    #[must_use]
    pub fn category(&self) -> &str {
        self.notification["category"].as_str().unwrap_or_default()
    }

    /// Whether its notification may wait a little to share a write with others.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.notification["priority"] == "low"
    }

    /// The same event for `user`, with an event id, a batch and a class of its own.
    ///
    /// # Errors
    /// When the case is not one of the fixtures' form.
    pub fn fresh(&self, user: &str) -> anyhow::Result<Event> {
        let registered = &self.registration["data"];
        let (id, batch) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        let replacements = [
            (&self.envelope["event_id"], &*id),
            (&registered["user_id"], user),
            (&registered["entity_id"], &batch),
            (&registered["class_id"], &Uuid::new_v4().to_string()),
        ];
        let mut event = Event {
            topic: self.topic.clone(),
            id: id.clone(),
            user: user.to_owned(),
            key: batch.clone(),
            envelope: self.envelope.clone(),
            notification: self.notification.clone(),
            registration: self.registration.clone(),
        };
        for (old, new) in replacements {
            let old = old.as_str().context("a case has ids")?;
            for value in [&mut event.envelope, &mut event.notification, &mut event.registration] {
                replace(value, old, new);
            }
        }
        Ok(event)
    }
}

impl Event {
    /// The event with which the owner of this one's batch and class becomes known.
    #[must_use]
    pub fn registration(&self) -> Self {
        let mut registration = self.clone();
        registration.id = Uuid::new_v4().to_string();
        registration.envelope = self.registration.clone();
        registration.envelope["event_id"] = registration.id.clone().into();
        registration.topic = REGISTRATION_TOPIC.into();
        registration.notification = Value::Null;
        registration
    }

    /// The same event, happening now; its other times keep their distance.
    #[must_use]
    pub fn happening_now(mut self) -> Self {
        let happened = self.envelope["data"]["timestamp"].as_str().and_then(|t| t.parse().ok());
        if let Some(happened) = happened {
            let shift = Timestamp::now().duration_since(happened);
            shift_times(&mut self.envelope, shift);
            shift_times(&mut self.notification, shift);
        }
        self
    }
}

/// Moves each text that is a time, however deep.
fn shift_times(value: &mut Value, shift: SignedDuration) {
    match value {
        Value::String(text) => {
            if let Some(moved) =
                text.parse().ok().and_then(|t: Timestamp| t.checked_add(shift).ok())
            {
                *text = moved.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift_times(item, shift)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift_times(field, shift)),
        _ => {}
    }
}

/// Replaces `old` by `new` in each text, however deep; ids are parts of links, too.
fn replace(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) if text.contains(old) => *text = text.replace(old, new),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, old, new)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, old, new)),
        _ => {}
    }
}

/// The 17 events of the design, one case each, in the order of the fixtures.
///
/// # Errors
/// When a fixture cannot be read.
pub fn designed() -> anyhow::Result<Vec<Case>> {
    let (registration, fixtures) = read_fixtures()?;
    let mut cases = Vec::with_capacity(DESIGNED);
    for fixture in fixtures {
        let topic = fixture["topics"][0].as_str().context("a fixture has a topic")?;
        let mut of_design = cases_with(&fixture, "design").into_iter();
        cases.extend(of_design.next().map(|case| read_case(case, topic, &registration)));
    }
    Ok(cases)
}

/// Every case of the services that send events today, on their topics.
///
/// # Errors
/// When a fixture cannot be read.
pub fn deployed() -> anyhow::Result<Vec<Case>> {
    let (registration, fixtures) = read_fixtures()?;
    let mut cases = Vec::new();
    for fixture in fixtures {
        let topics = fixture["topics"].as_array().and_then(|topics| topics.last());
        let topic = topics.and_then(Value::as_str).context("a fixture has a topic")?;
        let of_today = cases_with(&fixture, "deployed").into_iter();
        cases.extend(of_today.map(|case| read_case(case, topic, &registration)));
    }
    Ok(cases)
}

fn cases_with<'a>(fixture: &'a Value, word: &str) -> Vec<&'a Value> {
    let cases = fixture["cases"].as_array().into_iter().flatten();
    cases.filter(|case| case["name"].as_str().is_some_and(|name| name.contains(word))).collect()
}

fn read_case(case: &Value, topic: &str, registration: &Value) -> Case {
    let mut envelope = case["envelope"].clone();
    envelope["data"]["not_for_logs"] = PAYLOAD_MARKER.into();
    Case {
        topic: topic.to_owned(),
        envelope,
        notification: case["notification"].clone(),
        registration: registration.clone(),
    }
}

/// A fresh event of each of the 17, for one user.
///
/// # Errors
/// When a fixture cannot be read.
pub fn one_of_each(user: &str) -> anyhow::Result<Vec<Event>> {
    designed()?.iter().map(|case| case.fresh(user)).collect()
}

/// Every topic that carries an event.
///
/// # Errors
/// When a fixture cannot be read.
pub fn topics() -> anyhow::Result<Vec<String>> {
    let mut topics = vec![REGISTRATION_TOPIC.to_owned()];
    for fixture in read_fixtures()?.1 {
        let names = fixture["topics"].as_array().context("a fixture has topics")?;
        topics.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    topics.sort();
    topics.dedup();
    Ok(topics)
}

/// The payloads of all cases, as producers send them.
///
/// # Errors
/// When a fixture cannot be read.
pub fn payloads() -> anyhow::Result<Vec<Value>> {
    let cases = |fixture: Value| fixture["cases"].as_array().cloned().unwrap_or_default();
    let cases = read_fixtures()?.1.into_iter().flat_map(cases);
    Ok(cases.map(|case| case["envelope"]["data"].clone()).collect())
}

/// How the ids of fresh users begin.
pub const USER_PREFIX: &str = "teacher-";

/// A user that nobody has used before.
#[must_use]
pub fn fresh_user() -> String {
    format!("{USER_PREFIX}{}", Uuid::new_v4().simple())
}

/// The envelope that registers a batch, and the fixtures of all event types.
fn read_fixtures() -> anyhow::Result<(Value, Vec<Value>)> {
    let mut paths = std::fs::read_dir(workspace::fixtures())?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let fixtures = paths.iter().map(|path| read_fixture(path));
    let mut fixtures = fixtures.collect::<anyhow::Result<Vec<_>>>()?;
    let registers = |fixture: &Value| fixture["event_type"] == REGISTRATION_TOPIC;
    let at = fixtures.iter().position(registers).context("a fixture registers a batch")?;
    let registration = fixtures.remove(at)["envelope"].take();
    Ok((registration, fixtures))
}

fn read_fixture(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_case_for_each_designed_event() {
        let cases = designed().unwrap();
        assert_eq!(cases.len(), DESIGNED);
        let mut names: Vec<_> = cases.iter().map(Case::name).collect();
        names.dedup();
        assert_eq!(names.len(), DESIGNED);
    }

    #[test]
    fn an_event_of_now_keeps_the_distance_of_its_times() {
        let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
        let started = Timestamp::now();
        let event = designed().unwrap()[5].fresh("somebody").unwrap().happening_now();
        let data = &event.notification["data"];
        assert!(time(&data["timestamp"]) >= started);
        let day = time(&data["timestamp"]) + SignedDuration::from_hours(24);
        assert_eq!(time(&data["confirmation_deadline"]), day);
        let same = ["timestamp", "confirmation_deadline"];
        assert!(same.iter().all(|name| data[name] == event.envelope["data"][name]));
    }

    #[test]
    fn a_fresh_event_shares_no_id_with_its_case() {
        for case in designed().unwrap() {
            let event = case.fresh("somebody").unwrap();
            assert_eq!(event.envelope["data"]["user_id"], "somebody", "{}", case.name());
            assert_eq!(event.notification["user_id"], "somebody");
            assert_eq!(event.notification["event_id"], *event.id);
            assert_ne!(event.envelope["event_id"], case.envelope["event_id"]);
            assert!(!event.envelope.to_string().contains("teacher-42"));
            let batch = &event.envelope["data"]["batch_id"];
            assert!(batch.is_null() || *batch == *event.key, "{}", case.name());
            assert_eq!(event.notification["data"]["batch_id"], *batch, "{}", case.name());
            assert_eq!(event.registration().envelope["data"]["entity_id"], *event.key);
        }
    }
}
