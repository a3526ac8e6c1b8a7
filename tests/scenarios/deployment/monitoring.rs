//! Alert rules, runbook, dashboard and Prometheus configurations, checked against each other and,
//! where it is installed, by `promtool`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use harness::workspace;
use serde_json::Value;
use support::{
    deployment::{document, monitoring, read, root},
    node,
};

use crate::{context::Context, requirements, runner::scenarios};

scenarios![
    alert_rules_pass_their_tests,
    prometheus_configurations_are_valid,
    every_alert_has_a_test_and_a_runbook_section,
    dashboard_panels_follow_the_pipeline_without_overlap,
];

/// The tests of the alert rules, in `k8s/monitoring/`.
const RULE_TESTS: [&str; 3] =
    ["objectives.test.yml", "worker-alerts.test.yml", "gateway-alerts.test.yml"];

async fn alert_rules_pass_their_tests(_: &Context) -> anyhow::Result<()> {
    let promtool = requirements::prometheus("promtool")?;
    let folder = root().join("k8s/monitoring");
    node::run(&folder, promtool, &["check", "rules", "objectives.yml", "alerts.yml"]).await?;
    let tests = [&["test", "rules"], &RULE_TESTS[..]].concat();
    node::run(&folder, promtool, &tests).await.map(drop)
}

async fn prometheus_configurations_are_valid(_: &Context) -> anyhow::Result<()> {
    let promtool = requirements::prometheus("promtool")?;
    let folder = workspace::temporary("config-")?;
    for path in ["k8s/monitoring/prometheus.yml", "k8s/compose/prometheus.yml"] {
        let mut config = document(path)?;
        let rules = config["rule_files"].take();
        let rules = rules.as_array().context("rules")?.iter();
        let name = |rule: &Value| Some(rule.as_str()?.rsplit('/').next()?.to_owned());
        let rules: Vec<_> =
            rules.filter_map(name).map(|name| format!("k8s/monitoring/{name}")).collect();
        ensure!(
            rules == monitoring::RULES,
            "{path}: expected {:?}, got {rules:?}",
            monitoring::RULES
        );
        for job in config["scrape_configs"].as_array_mut().context("jobs")? {
            // Debian's Prometheus is built without it.
            job.as_object_mut().context("a job")?.remove("kubernetes_sd_configs");
        }
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string())?;
        let check = ["check", "config", "--syntax-only", "prometheus.yml"];
        node::run(folder.path(), promtool, &check).await.with_context(|| path.to_owned())?;
    }
    Ok(())
}

async fn every_alert_has_a_test_and_a_runbook_section(_: &Context) -> anyhow::Result<()> {
    let tests = RULE_TESTS.iter().map(|name| read(&format!("k8s/monitoring/{name}")));
    let tests = tests.collect::<anyhow::Result<String>>()?;
    let mut names = BTreeSet::new();
    for rule in monitoring::rules()? {
        let Some(name) = rule["alert"].as_str() else { continue };
        ensure!(names.insert(name.to_owned()), "{name} exists twice");
        let severity = &rule["labels"]["severity"];
        ensure!(
            severity == "page" || severity == "ticket",
            "{name}: expected severity page or ticket, got {severity}"
        );
        let notes = &rule["annotations"];
        let section = format!("k8s/RUNBOOK.md#{}", name.to_lowercase());
        ensure!(
            notes["runbook_url"] == *section,
            "{name}: expected {section}, got {}",
            notes["runbook_url"]
        );
        ensure!(
            notes["summary"].is_string() && notes["description"].is_string(),
            "{name}: no summary or description"
        );
        ensure!(tests.contains(&format!("alertname=\"{name}\"")), "{name}: no rule test names it");
    }
    let runbook = read("k8s/RUNBOOK.md")?;
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let sections: BTreeSet<String> = sections.map(str::to_owned).collect();
    let unmatched: Vec<_> = sections.symmetric_difference(&names).collect();
    ensure!(unmatched.is_empty(), "only an alert or only a section of RUNBOOK.md: {unmatched:?}");
    Ok(())
}

async fn dashboard_panels_follow_the_pipeline_without_overlap(_: &Context) -> anyhow::Result<()> {
    let dashboard = monitoring::dashboard()?;
    let panels = dashboard["panels"].as_array().context("panels")?;
    let mut occupied = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a title")?;
        ensure!(ids.insert(panel["id"].to_string()), "{title}: duplicate id");
        ensure!(
            panel["type"] == "row" || panel["description"].is_string(),
            "{title}: no description"
        );
        let side = |name: &str| panel["gridPos"][name].as_u64().context("a grid position");
        let (left, top) = (side("x")?, side("y")?);
        for x in left..left + side("w")? {
            for y in top..top + side("h")? {
                let other = occupied.insert((x, y), title);
                ensure!(other.is_none() && x < 24, "{title} overlaps {other:?}");
            }
        }
    }
    let first = panels.iter().filter(|panel| panel["type"] == "stat").filter_map(stage);
    let pipeline = ["Kafka", "Worker", "Redis", "Gateway", "Browsers"];
    ensure!(first.eq(pipeline), "the first row differs from the pipeline");
    Ok(())
}

/// The stage of the pipeline that a panel shows.
fn stage(panel: &Value) -> Option<&str> {
    panel["title"].as_str()?.split(':').next()
}
