//! Events built from the fixtures, with fresh ids: scenarios do not see each other's events.

use std::path::Path;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::workspace;

/// A field value in every payload that no notification carries.
pub const PAYLOAD_MARKER: &str = "payload-mark-7c1f";

/// Number of events in the design.
pub const DESIGNED: usize = 17;

/// Topic of the events that register the owner of a batch.
const REGISTRATION_TOPIC: &str = "huleedu.batch.essays.registered.v1";

/// A fixture case: the envelope that a producer sends and the notification that a browser receives.
#[derive(Clone, Debug)]
pub struct Case {
    /// Kafka topic.
    pub topic: String,
    envelope: Value,
    notification: Value,
    registration: Value,
}

/// A case with fresh ids.
#[derive(Clone, Debug)]
pub struct Event {
    /// Kafka topic.
    pub topic: String,
    /// Event id.
    pub id: String,
    /// Recipient.
    pub user: String,
    /// Record key.
    pub key: String,
    /// Record value.
    pub envelope: Value,
    /// The notification without the position that Redis assigns; null if there is none.
    pub notification: Value,
    registration: Value,
}

impl Case {
    /// Returns the notification's `event`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.notification["event"].as_str().unwrap_or_default()
    }

    /// Returns the notification's category.
    #[must_use]
    pub fn category(&self) -> &str {
        self.notification["category"].as_str().unwrap_or_default()
    }

    /// Returns whether a gateway may delay the notification to share a write: low priority.
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.notification["priority"] == "low"
    }

    /// Returns an event for `user` with a fresh event id, batch and class.
    ///
    /// # Errors
    /// When the case has no ids to replace.
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
            let old = old.as_str().context("the case has no id to replace")?;
            for value in [&mut event.envelope, &mut event.notification, &mut event.registration] {
                replace(value, old, new);
            }
        }
        Ok(event)
    }
}

impl Event {
    /// Returns the event that registers the owner of this event's batch and class.
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

    /// Moves the event's time to now; its other times move by the same amount.
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

/// Moves every time in a value, at any depth.
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

/// Replaces `old` by `new` in every text of a value; ids are also parts of links.
fn replace(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) if text.contains(old) => *text = text.replace(old, new),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, old, new)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace(field, old, new)),
        _ => {}
    }
}

/// Returns one case for each of the 17 events of the design, in fixture order.
///
/// # Errors
/// When a fixture cannot be read.
pub fn designed() -> anyhow::Result<Vec<Case>> {
    let (registration, fixtures) = read_fixtures()?;
    let mut cases = Vec::with_capacity(DESIGNED);
    for fixture in fixtures {
        let topic = fixture["topics"][0].as_str().context("a fixture without a topic")?;
        let mut designed = cases_named(&fixture, "design").into_iter();
        cases.extend(designed.next().map(|case| read_case(case, topic, &registration)));
    }
    Ok(cases)
}

/// Returns every case of the deployed producers, on their topics.
///
/// # Errors
/// When a fixture cannot be read.
pub fn deployed() -> anyhow::Result<Vec<Case>> {
    let (registration, fixtures) = read_fixtures()?;
    let mut cases = Vec::new();
    for fixture in fixtures {
        let topics = fixture["topics"].as_array().and_then(|topics| topics.last());
        let topic = topics.and_then(Value::as_str).context("a fixture without a topic")?;
        let deployed = cases_named(&fixture, "deployed").into_iter();
        cases.extend(deployed.map(|case| read_case(case, topic, &registration)));
    }
    Ok(cases)
}

fn cases_named<'a>(fixture: &'a Value, word: &str) -> Vec<&'a Value> {
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

/// Returns a fresh event of each of the 17, for one user.
///
/// # Errors
/// When a fixture cannot be read.
pub fn one_of_each(user: &str) -> anyhow::Result<Vec<Event>> {
    designed()?.iter().map(|case| case.fresh(user)).collect()
}

/// Returns every topic that carries an event.
///
/// # Errors
/// When a fixture cannot be read.
pub fn topics() -> anyhow::Result<Vec<String>> {
    let mut topics = vec![REGISTRATION_TOPIC.to_owned()];
    for fixture in read_fixtures()?.1 {
        let names = fixture["topics"].as_array().context("a fixture without topics")?;
        topics.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    topics.sort();
    topics.dedup();
    Ok(topics)
}

/// Returns the payloads of all cases.
///
/// # Errors
/// When a fixture cannot be read.
pub fn payloads() -> anyhow::Result<Vec<Value>> {
    let cases = |fixture: Value| fixture["cases"].as_array().cloned().unwrap_or_default();
    let cases = read_fixtures()?.1.into_iter().flat_map(cases);
    Ok(cases.map(|case| case["envelope"]["data"].clone()).collect())
}

/// Prefix of the ids of fresh users.
pub const USER_PREFIX: &str = "teacher-";

/// Returns a user id that is not used elsewhere.
#[must_use]
pub fn fresh_user() -> String {
    format!("{USER_PREFIX}{}", Uuid::new_v4().simple())
}

/// Returns the envelope that registers a batch, and the fixtures of all event types.
fn read_fixtures() -> anyhow::Result<(Value, Vec<Value>)> {
    let mut paths = std::fs::read_dir(workspace::fixtures())?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let fixtures = paths.iter().map(|path| read_fixture(path));
    let mut fixtures = fixtures.collect::<anyhow::Result<Vec<_>>>()?;
    let registers = |fixture: &Value| fixture["event_type"] == REGISTRATION_TOPIC;
    let at = fixtures.iter().position(registers).context("no fixture registers a batch")?;
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
    fn every_designed_event_has_one_case() {
        let cases = designed().unwrap();
        let names: std::collections::BTreeSet<_> = cases.iter().map(Case::name).collect();
        assert_eq!((cases.len(), names.len()), (DESIGNED, DESIGNED));
    }

    #[test]
    fn happening_now_moves_all_times_by_the_same_amount() {
        let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
        let started = Timestamp::now();
        let event = designed().unwrap()[5].fresh("teacher-7").unwrap().happening_now();
        let data = &event.notification["data"];
        assert!(time(&data["timestamp"]) >= started);
        let day = time(&data["timestamp"]) + SignedDuration::from_hours(24);
        assert_eq!(time(&data["confirmation_deadline"]), day);
        let same = ["timestamp", "confirmation_deadline"];
        assert!(same.iter().all(|name| data[name] == event.envelope["data"][name]));
    }

    #[test]
    fn fresh_events_share_no_id_with_their_case() {
        for case in designed().unwrap() {
            let event = case.fresh("teacher-7").unwrap();
            assert_eq!(event.envelope["data"]["user_id"], "teacher-7", "{}", case.name());
            assert_eq!(event.notification["user_id"], "teacher-7");
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
