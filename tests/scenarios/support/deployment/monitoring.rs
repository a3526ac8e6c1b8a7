//! Prometheus rules, the Grafana dashboard, and the series that they query.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{document, read};

/// The rule files.
pub const RULES: [&str; 2] = ["k8s/monitoring/objectives.yml", "k8s/monitoring/alerts.yml"];

/// Returns every rule of both files.
///
/// # Errors
/// When a file has no groups or rules.
pub fn rules() -> anyhow::Result<Vec<Value>> {
    let mut all = Vec::new();
    for path in RULES {
        let rules = document(path)?;
        for group in rules["groups"].as_array().context("no groups")? {
            all.extend(group["rules"].as_array().context("a group without rules")?.iter().cloned());
        }
    }
    ensure!(!all.is_empty(), "there are no rules");
    Ok(all)
}

/// Reads the dashboard.
///
/// # Errors
/// When it is not JSON.
pub fn dashboard() -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&read("k8s/monitoring/dashboards/notifications.json")?)?)
}

/// Returns the queries of the dashboard, each with the title of its panel.
///
/// # Errors
/// As [`dashboard`].
pub fn queries() -> anyhow::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for panel in dashboard()?["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a target without an expression")?;
            let query = query.replace("$__rate_interval", "1m");
            all.push((panel["title"].as_str().unwrap_or_default().to_owned(), query));
        }
    }
    ensure!(!all.is_empty(), "the dashboard has no queries");
    Ok(all)
}

/// PromQL keywords, and those that are followed by labels in parentheses.
const KEYWORDS: &[&str] =
    &["and", "or", "unless", "bool", "offset", "sum", "min", "max", "avg", "count", "topk"];
const LABEL_KEYWORDS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Returns the selectors of an expression: series names with labels, without ranges.
#[must_use]
pub fn selectors(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c: char| !is_name_char(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        if name.is_empty() {
            rest = skip(rest, first);
        } else if LABEL_KEYWORDS.contains(&name) {
            rest = after.split_once(')').map_or("", |(_, rest)| rest);
        } else if first.is_ascii_digit() || KEYWORDS.contains(&name) || after.starts_with('(') {
            rest = after;
        } else {
            let labels =
                if after.starts_with('{') { after.find('}').map_or(0, |at| at + 1) } else { 0 };
            found.insert(format!("{name}{}", &after[..labels]));
            rest = &after[labels..];
        }
    }
    found
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Skips a range such as `[5m]`, or else one character.
fn skip(text: &str, first: char) -> &str {
    match first {
        '[' => text.split_once(']').map_or("", |(_, rest)| rest),
        _ => &text[first.len_utf8()..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_extracted_from_an_expression() {
        let expression = r#"histogram_quantile(0.99, sum by (le, call) (rate(a_bucket{x="1",y=~"b|c"}[5m])))
            / on (le) group_left () (max_over_time(b:c:rate5m[10m:]) > 14.4 * 0.01 offset 10m) or absent(d)"#;
        let wanted = [r#"a_bucket{x="1",y=~"b|c"}"#, "b:c:rate5m", "d"];
        assert_eq!(selectors(expression), wanted.map(str::to_owned).into());
    }

    #[test]
    fn every_rule_and_panel_has_a_selector() {
        for rule in rules().unwrap() {
            assert!(!selectors(rule["expr"].as_str().unwrap()).is_empty(), "{rule}");
        }
        for (title, query) in queries().unwrap() {
            assert!(!selectors(&query).is_empty(), "{title}: {query}");
        }
    }
}
