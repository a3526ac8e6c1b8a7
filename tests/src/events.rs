//! The events that are sent: the fixtures' cases, each time with ids of its own, so that one
//! scenario never meets the events of another.

use std::path::Path;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::workspace;

/// How many events the design has.
pub const DESIGNED: usize = 17;

/// One fixture case: what a producer sends and what a browser receives.
#[derive(Clone, Debug)]
pub struct Case {
    /// The topic of the design, or for a deployed case the one it is deployed on.
    pub topic: String,
    envelope: Value,
    /// Null for an event that is by rule no notification.
    notification: Value,
    /// What must be known of owners: `batch:<id>` or `class:<id>`, and the user.
    owners: Value,
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
    /// What the user receives, without the position that Redis gives it; null if nothing.
    pub notification: Value,
    /// The batch and the class whose owner must be known, if the event itself names no user.
    pub owned: Owned,
}

/// Ids of a batch and of a class.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    /// The batch.
    pub batch: Option<String>,
    /// The class.
    pub class: Option<String>,
}

impl Case {
    /// The notification's `event`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.notification["event"].as_str().unwrap_or_default()
    }

    /// The same event for `user`, with an event id, a batch and a class of its own.
    ///
    /// # Errors
    /// When the case is not one of the fixtures' form.
    pub fn fresh(&self, user: &str) -> anyhow::Result<Event> {
        let data = &self.envelope["data"];
        let id = Uuid::new_v4().to_string();
        let owned = |kind| {
            let owners = self.owners.as_object()?;
            owners.keys().find_map(|key| key.strip_prefix(kind))
        };
        let (batch, class) = (owned("batch:"), owned("class:"));
        let [new_batch, new_class] = [(); 2].map(|()| Uuid::new_v4().to_string());
        let replacements = [
            (self.envelope["event_id"].as_str(), &id),
            (self.notification["user_id"].as_str(), &user.to_owned()),
            (batch.or(data["batch_id"].as_str()), &new_batch),
            (class.or(data["class_id"].as_str()), &new_class),
        ];
        let mut pair = Value::from(vec![self.envelope.clone(), self.notification.clone()]);
        for (old, new) in replacements {
            if let Some(old) = old {
                replace(&mut pair, old, new);
            }
        }
        let (notification, envelope) = (pair[1].take(), pair[0].take());
        let subject = ["batch_id", "entity_id", "class_id", "student_id"];
        let key = subject.iter().find_map(|name| envelope["data"][name].as_str());
        let key = key.context("an event has a subject")?.to_owned();
        let owned = Owned { batch: batch.map(|_| new_batch), class: class.map(|_| new_class) };
        Ok(Event {
            topic: self.topic.clone(),
            id,
            user: user.to_owned(),
            key,
            envelope,
            notification,
            owned,
        })
    }
}

impl Event {
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
    let mut cases = Vec::with_capacity(DESIGNED);
    for fixture in read_fixtures()? {
        let topic = fixture["topics"][0].as_str().context("a fixture has a topic")?;
        cases.extend(named(&fixture, "design").next().map(|case| Case::read(topic, case)));
    }
    Ok(cases)
}

/// What the deployed services send of the same events, every case of it.
///
/// # Errors
/// When a fixture cannot be read.
pub fn deployed() -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for fixture in read_fixtures()? {
        let topics = fixture["topics"].as_array().context("a fixture has topics")?;
        let topic = topics.last().and_then(Value::as_str).context("a fixture has a topic")?;
        cases.extend(named(&fixture, "deployed").map(|case| Case::read(topic, case)));
    }
    Ok(cases)
}

/// The cases of a fixture whose names have a word.
fn named<'a>(fixture: &'a Value, word: &'a str) -> impl Iterator<Item = &'a Value> {
    let cases = fixture["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    cases.iter().filter(move |case| case["name"].as_str().is_some_and(|n| n.contains(word)))
}

impl Case {
    fn read(topic: &str, case: &Value) -> Self {
        Self {
            topic: topic.to_owned(),
            envelope: case["envelope"].clone(),
            notification: case["notification"].clone(),
            owners: case["owners"].clone(),
        }
    }
}

/// The registration of a batch, which teaches who owns it and its class.
///
/// # Errors
/// When its fixture cannot be read.
pub fn registration(owned: &Owned, user: &str) -> anyhow::Result<Event> {
    let fixture = read_fixture(&workspace::fixtures().join("ownership.json"))?;
    let mut envelope = fixture["envelope"].clone();
    let id = Uuid::new_v4().to_string();
    envelope["event_id"] = id.clone().into();
    let data = &mut envelope["data"];
    let key = owned.batch.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
    data["user_id"] = user.into();
    data["entity_id"] = key.clone().into();
    data["class_id"] = owned.class.clone().into();
    let topic = fixture["topics"][0].as_str().context("the fixture has a topic")?.to_owned();
    let (user, notification, owned) = (user.to_owned(), Value::Null, owned.clone());
    Ok(Event { topic, id, user, key, envelope, notification, owned })
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
    let mut topics = Vec::new();
    for fixture in read_fixtures()? {
        let names = fixture["topics"].as_array().context("a fixture has topics")?;
        topics.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    topics.sort();
    topics.dedup();
    Ok(topics)
}

/// A user that nobody has used before.
#[must_use]
pub fn fresh_user() -> String {
    format!("teacher-{}", Uuid::new_v4().simple())
}

fn read_fixtures() -> anyhow::Result<Vec<Value>> {
    let mut paths = std::fs::read_dir(workspace::fixtures())?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| read_fixture(path)).collect()
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
            assert!(batch.is_null() || *batch != case.envelope["data"]["batch_id"]);
            assert_eq!(event.notification["data"]["batch_id"], *batch, "{}", case.name());
        }
    }
}
