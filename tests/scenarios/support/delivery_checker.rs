//! Compares what was sent to each user with what was delivered: finds lost, duplicated, misdirected
//! and out-of-order notifications.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Sent and delivered events by user.
#[derive(Debug, Default)]
pub struct DeliveryChecker {
    users: BTreeMap<String, UserEvents>,
}

#[derive(Debug, Default)]
struct UserEvents {
    sent: HashSet<String>,
    /// How often each event was delivered.
    delivered: HashMap<String, u32>,
    newest: Option<Position>,
    out_of_order: u64,
}

/// A position in a user's stream: milliseconds and a sequence number within them.
pub type Position = (u64, u64);

/// Violations of the delivery guarantees, each as `user/event id`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Sent and never delivered.
    pub missing: Vec<String>,
    /// Delivered more than once.
    pub duplicated: Vec<String>,
    /// Delivered to another user.
    pub misdirected: Vec<String>,
    /// Notifications that arrived after a later one.
    pub out_of_order: u64,
}

impl DeliveryChecker {
    /// Records that an event was sent to a user.
    pub fn record_sent(&mut self, user: &str, event_id: &str) {
        self.users.entry(user.to_owned()).or_default().sent.insert(event_id.to_owned());
    }

    /// Records that a notification was delivered to a user.
    ///
    /// # Errors
    /// When the notification has no position or no event id.
    pub fn record_delivered(&mut self, user: &str, notification: &Value) -> anyhow::Result<()> {
        let position = position(notification["id"].as_str().context("a notification has an id")?)?;
        let event_id = notification["event_id"].as_str().context("it has an event id")?;
        let events = self.users.entry(user.to_owned()).or_default();
        *events.delivered.entry(event_id.to_owned()).or_default() += 1;
        if events.newest.is_some_and(|newest| position <= newest) {
            events.out_of_order += 1;
        }
        events.newest = events.newest.max(Some(position));
        Ok(())
    }

    /// Returns the ids of the events that were sent to each user.
    #[must_use]
    pub fn sent(&self) -> Vec<(String, Vec<String>)> {
        let user = |(user, events): (&String, &UserEvents)| {
            (user.clone(), events.sent.iter().cloned().collect())
        };
        self.users.iter().map(user).collect()
    }

    /// Returns how many distinct events were delivered, summed over all users.
    #[must_use]
    pub fn delivered(&self) -> usize {
        self.users.values().map(|events| events.delivered.len()).sum()
    }

    /// Returns every violation so far.
    #[must_use]
    pub fn violations(&self) -> Violations {
        let mut violations = Violations::default();
        for (user, UserEvents { sent, delivered, out_of_order, .. }) in &self.users {
            let name = |event_id: &String| format!("{user}/{event_id}");
            let missing = sent.iter().filter(|id| !delivered.contains_key(*id));
            violations.missing.extend(missing.map(name));
            let misdirected = delivered.keys().filter(|id| !sent.contains(*id));
            violations.misdirected.extend(misdirected.map(name));
            let duplicated = delivered.iter().filter(|(_, times)| **times > 1);
            violations.duplicated.extend(duplicated.map(|(id, _)| name(id)));
            violations.out_of_order += out_of_order;
        }
        violations
    }
}

impl Violations {
    /// Fails when there is any violation.
    ///
    /// # Errors
    /// Counts the violations of each kind, with an example.
    pub fn ensure_none(&self) -> anyhow::Result<()> {
        let count = |what: &str, events: &[String]| match events.first() {
            Some(example) => format!("{} {what} (first: {example}), ", events.len()),
            None => String::new(),
        };
        ensure!(
            *self == Self::default(),
            "{}{}{}{} out of order",
            count("missing", &self.missing),
            count("duplicated", &self.duplicated),
            count("at the wrong user", &self.misdirected),
            self.out_of_order
        );
        Ok(())
    }
}

/// Parses the id of a stream entry.
///
/// # Errors
/// When the id is not two numbers joined by a dash.
pub fn position(id: &str) -> anyhow::Result<Position> {
    let (time, number) = id.split_once('-').with_context(|| format!("{id} is not a position"))?;
    Ok((time.parse()?, number.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deliver(checker: &mut DeliveryChecker, user: &str, id: &str, event_id: &str) {
        checker.record_delivered(user, &json!({"id": id, "event_id": event_id})).unwrap();
    }

    #[test]
    fn every_event_delivered_once_and_in_order_passes() {
        let mut checker = DeliveryChecker::default();
        for event in ["e", "f"] {
            checker.record_sent("a", event);
        }
        deliver(&mut checker, "a", "9-1", "f");
        deliver(&mut checker, "a", "10-0", "e");
        checker.violations().ensure_none().unwrap();
    }

    #[test]
    fn every_kind_of_violation_is_found() {
        let mut checker = DeliveryChecker::default();
        for event in ["lost", "e", "f"] {
            checker.record_sent("a", event);
        }
        deliver(&mut checker, "a", "2-0", "e");
        deliver(&mut checker, "a", "1-0", "f");
        deliver(&mut checker, "a", "3-0", "e");
        deliver(&mut checker, "b", "1-0", "f");
        let violations = checker.violations();
        assert_eq!(violations.missing, ["a/lost"]);
        assert_eq!(violations.duplicated, ["a/e"]);
        assert_eq!(violations.misdirected, ["b/f"]);
        assert_eq!(violations.out_of_order, 1);
        let error = violations.ensure_none().unwrap_err().to_string();
        assert!(error.contains("1 missing (first: a/lost)"), "{error}");
    }
}
