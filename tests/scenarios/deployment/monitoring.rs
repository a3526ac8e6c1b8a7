//! Rules, runbook and dashboard, held to each other; and to `promtool`, where it is installed.

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
    the_rules_fire_when_they_should_and_only_then,
    prometheus_is_told_whom_to_scrape,
    every_alert_is_tested_and_has_its_section_in_the_runbook,
    the_dashboard_shows_the_path_from_left_to_right,
];

async fn the_rules_fire_when_they_should_and_only_then(_: &Context) -> anyhow::Result<()> {
    let promtool = requirements::prometheus("promtool")?;
    let folder = root().join("k8s/monitoring");
    node::run(&folder, promtool, &["check", "rules", "objectives.yml", "alerts.yml"]).await?;
    let tests = ["test", "rules", "objectives.test.yml", "alerts.test.yml"];
    node::run(&folder, promtool, &tests).await.map(drop)
}

async fn prometheus_is_told_whom_to_scrape(_: &Context) -> anyhow::Result<()> {
    let promtool = requirements::prometheus("promtool")?;
    let folder = workspace::temporary("config-")?;
    for path in ["k8s/monitoring/prometheus.yml", "k8s/compose/prometheus.yml"] {
        let mut config = document(path)?;
        let rules = config["rule_files"].take();
        let rules = rules.as_array().context("there are rules")?.iter();
        let name = |rule: &Value| Some(rule.as_str()?.rsplit('/').next()?.to_owned());
        let rules: Vec<_> =
            rules.filter_map(name).map(|name| format!("k8s/monitoring/{name}")).collect();
        ensure!(rules == monitoring::RULES, "{path}: {rules:?}");
        for job in config["scrape_configs"].as_array_mut().context("there are jobs")? {
            // Debian builds Prometheus without it.
            job.as_object_mut().context("a job")?.remove("kubernetes_sd_configs");
        }
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string())?;
        let check = ["check", "config", "--syntax-only", "prometheus.yml"];
        node::run(folder.path(), promtool, &check).await.with_context(|| path.to_owned())?;
    }
    Ok(())
}

async fn every_alert_is_tested_and_has_its_section_in_the_runbook(
    _: &Context,
) -> anyhow::Result<()> {
    let tests =
        read("k8s/monitoring/objectives.test.yml")? + &read("k8s/monitoring/alerts.test.yml")?;
    let mut names = BTreeSet::new();
    for rule in monitoring::rules()? {
        let Some(name) = rule["alert"].as_str() else { continue };
        ensure!(names.insert(name.to_owned()), "{name} is there twice");
        let severity = &rule["labels"]["severity"];
        ensure!(severity == "page" || severity == "ticket", "{name}: {severity}");
        let notes = &rule["annotations"];
        let section = format!("k8s/RUNBOOK.md#{}", name.to_lowercase());
        ensure!(notes["runbook_url"] == *section, "{name}: {}", notes["runbook_url"]);
        ensure!(notes["summary"].is_string() && notes["description"].is_string(), "{name}: why?");
        ensure!(tests.contains(&format!("alertname=\"{name}\"")), "{name}: when does it fire?");
    }
    let runbook = read("k8s/RUNBOOK.md")?;
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let sections: BTreeSet<String> = sections.map(str::to_owned).collect();
    ensure!(sections == names, "{:?}", sections.symmetric_difference(&names).collect::<Vec<_>>());
    Ok(())
}

async fn the_dashboard_shows_the_path_from_left_to_right(_: &Context) -> anyhow::Result<()> {
    let dashboard = monitoring::dashboard()?;
    let panels = dashboard["panels"].as_array().context("there are panels")?;
    let mut taken = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().context("a panel has a title")?;
        ensure!(ids.insert(panel["id"].to_string()), "{title}: its id is another's");
        ensure!(panel["type"] == "row" || panel["description"].is_string(), "{title}: what is it?");
        let side = |name: &str| panel["gridPos"][name].as_u64().context("a place");
        let (left, top) = (side("x")?, side("y")?);
        for x in left..left + side("w")? {
            for y in top..top + side("h")? {
                let other = taken.insert((x, y), title);
                ensure!(other.is_none() && x < 24, "{title} is over {other:?}");
            }
        }
    }
    let first = panels.iter().filter(|panel| panel["type"] == "stat").filter_map(stage);
    let path = ["Kafka", "Worker", "Redis", "Gateway", "Browsers"];
    ensure!(first.eq(path), "the first row is not the path");
    Ok(())
}

/// What of the path a panel is about.
fn stage(panel: &Value) -> Option<&str> {
    panel["title"].as_str()?.split(':').next()
}
