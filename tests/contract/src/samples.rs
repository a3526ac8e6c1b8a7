//! The TypeScript module with a sample of each notification, from the fixtures.

use std::fs;

use anyhow::Context as _;
use harness::workspace;
use serde_json::{Map, Value};

const HEAD: &str = "\
// Written by `make contract` from `shared/fixtures`; not by hand.

import type { Notifications, OtherNotification } from \"./contract.ts\";

/** A notification of each event. */
export const SAMPLES: { readonly [E in keyof Notifications]: Notifications[E] } = ";

/// Returns the module.
pub(crate) fn module() -> anyhow::Result<String> {
    let folder = workspace::root().join("shared/fixtures");
    let entries = fs::read_dir(&folder).context("read shared/fixtures")?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .context("read shared/fixtures")?;
    paths.sort();
    let mut samples = Map::new();
    let mut other = Value::Null;
    for path in paths {
        let fixture: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let cases = fixture["cases"].as_array().into_iter().flatten();
        let Some(sample) =
            cases.map(|case| &case["notification"]).find(|notification| notification.is_object())
        else {
            continue;
        };
        let event = sample["event"].as_str().context("a notification has an event")?;
        if fixture["event_type"].as_str().is_some_and(|kind| kind.contains("teacher")) {
            other = sample.clone();
        } else {
            samples.insert(event.to_owned(), sample.clone());
        }
    }
    let [samples, other] = [Value::from(samples), other].map(|v| serde_json::to_string_pretty(&v));
    let comment = "/** A notification that a service requested under a name of its own. */";
    Ok(format!(
        "{HEAD}{};\n\n{comment}\nexport const OTHER_SAMPLE: OtherNotification = {};\n",
        samples?, other?
    ))
}
