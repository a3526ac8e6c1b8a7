//! The judge: compares what was sent to each user with what arrived, and finds every loss, every
//! duplicate, everything told to somebody else and every step back in the order.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// What was sent and what arrived, by user.
#[derive(Debug, Default)]
pub struct Ledger {
    users: BTreeMap<String, Account>,
}

#[derive(Debug, Default)]
struct Account {
    sent: Vec<String>,
    arrived: HashMap<String, u32>,
    newest: Option<Position>,
    steps_back: u64,
}

/// A position in a user's stream: milliseconds and a number within them.
pub type Position = (u64, u64);

/// What went wrong, each as `user/event id`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Sent and never arrived.
    pub missing: Vec<String>,
    /// Arrived more than once.
    pub duplicated: Vec<String>,
    /// Arrived at somebody it was not sent to.
    pub misdirected: Vec<String>,
    /// How many arrived after a later one.
    pub steps_back: u64,
}

impl Ledger {
    /// Notes that an event was sent to a user.
    pub fn sent(&mut self, user: &str, event_id: &str) {
        self.users.entry(user.to_owned()).or_default().sent.push(event_id.to_owned());
    }

    /// Notes that a notification arrived at a user.
    ///
    /// # Errors
    /// When it has no position or no event id.
    pub fn arrived(&mut self, user: &str, notification: &Value) -> anyhow::Result<()> {
        let position = position(notification["id"].as_str().context("a notification has an id")?)?;
        let event_id = notification["event_id"].as_str().context("it has an event id")?;
        let account = self.users.entry(user.to_owned()).or_default();
        *account.arrived.entry(event_id.to_owned()).or_default() += 1;
        if account.newest.is_some_and(|newest| position <= newest) {
            account.steps_back += 1;
        }
        account.newest = account.newest.max(Some(position));
        Ok(())
    }

    /// How many different events have arrived, at all users together.
    #[must_use]
    pub fn arrivals(&self) -> usize {
        self.users.values().map(|account| account.arrived.len()).sum()
    }

    /// Everything that went wrong so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for (user, account) in &self.users {
            let name = |event_id: &String| format!("{user}/{event_id}");
            let missing = account.sent.iter().filter(|id| !account.arrived.contains_key(*id));
            verdict.missing.extend(missing.map(name));
            let sent: std::collections::HashSet<_> = account.sent.iter().collect();
            let misdirected = account.arrived.keys().filter(|id| !sent.contains(id));
            verdict.misdirected.extend(misdirected.map(name));
            let duplicated = account.arrived.iter().filter(|(_, times)| **times > 1);
            verdict.duplicated.extend(duplicated.map(|(id, _)| name(id)));
            verdict.steps_back += account.steps_back;
        }
        verdict
    }
}

impl Verdict {
    /// Passes when nothing went wrong.
    ///
    /// # Errors
    /// Says how many of each went wrong, with an example.
    pub fn check(&self) -> anyhow::Result<()> {
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
            self.steps_back
        );
        Ok(())
    }
}

/// Reads the id of a stream entry.
///
/// # Errors
/// When it is not two numbers with a dash between them.
pub fn position(id: &str) -> anyhow::Result<Position> {
    let (time, number) = id.split_once('-').with_context(|| format!("{id} is not a position"))?;
    Ok((time.parse()?, number.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arrive(ledger: &mut Ledger, user: &str, id: &str, event_id: &str) {
        ledger.arrived(user, &json!({"id": id, "event_id": event_id})).unwrap();
    }

    #[test]
    fn everything_once_and_in_order_passes() {
        let mut ledger = Ledger::default();
        for event in ["e", "f"] {
            ledger.sent("a", event);
        }
        arrive(&mut ledger, "a", "9-1", "f");
        arrive(&mut ledger, "a", "10-0", "e");
        ledger.verdict().check().unwrap();
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let mut ledger = Ledger::default();
        for event in ["lost", "e", "f"] {
            ledger.sent("a", event);
        }
        arrive(&mut ledger, "a", "2-0", "e");
        arrive(&mut ledger, "a", "1-0", "f");
        arrive(&mut ledger, "a", "3-0", "e");
        arrive(&mut ledger, "b", "1-0", "f");
        let verdict = ledger.verdict();
        assert_eq!(verdict.missing, ["a/lost"]);
        assert_eq!(verdict.duplicated, ["a/e"]);
        assert_eq!(verdict.misdirected, ["b/f"]);
        assert_eq!(verdict.steps_back, 1);
        assert!(verdict.check().unwrap_err().to_string().contains("1 missing (first: a/lost)"));
    }
}
