//! The settings tables of the READMEs, from the command lines of both services, and the topics in
//! the manifests, from the routing table.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use harness::workspace;
use ingest_worker::domain::routes::ROUTES;
use shared::config::markdown_table;

/// Returns every file with settings, and its content.
pub(crate) fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let tables = [
        ("ingest-worker", markdown_table(&ingest_worker::config::command())),
        ("ws-gateway", markdown_table(&ws_gateway::config::command())),
    ];
    let mut files = Vec::new();
    for (service, table) in tables {
        let path = workspace::root().join(service).join("README.md");
        let text = with_table(&read(&path)?, service, &table)?;
        files.push((path, text));
    }
    let path = workspace::root().join("k8s/base/ingest-worker.env");
    let text = with_topics(&read(&path)?);
    files.push((path, text));
    Ok(files)
}

fn read(path: &PathBuf) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Replaces the table after the marker of a service.
fn with_table(markdown: &str, service: &str, table: &str) -> anyhow::Result<String> {
    let marker = format!("<!-- settings:{service} -->\n");
    let (before, rest) = markdown.split_once(&marker).with_context(|| format!("no {marker}"))?;
    let after = rest.split_once("\n\n").map_or(String::new(), |(_, after)| format!("\n{after}"));
    Ok(format!("{before}{marker}{}\n{after}", table.trim_end()))
}

/// Replaces the topics of an environment file, which are its last lines.
fn with_topics(env: &str) -> String {
    let is_topic = |line: &&str| {
        let name = line.split('=').next();
        ROUTES.iter().any(|route| name == Some(route.topic.setting))
    };
    let others = env.lines().filter(|line| !is_topic(line)).map(str::to_owned);
    let topics = ROUTES.iter().map(|r| format!("{}={}", r.topic.setting, r.topic.default));
    others.chain(topics).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_replaced_up_to_the_next_blank_line() {
        let markdown = "a\n<!-- settings:x -->\n| old |\n\nb\n";
        let expected = "a\n<!-- settings:x -->\n| new |\n\nb\n";
        assert_eq!(with_table(markdown, "x", "| new |\n").unwrap(), expected);
        assert!(with_table(markdown, "y", "").is_err());
    }

    #[test]
    fn topics_are_added_after_the_other_settings() {
        let env = with_topics("# comment\nA=1\nCLASS_CREATED_TOPIC=old\n");
        assert!(env.starts_with("# comment\nA=1\n") && !env.contains("=old"), "{env}");
        assert_eq!(env.lines().count(), 2 + ROUTES.len());
    }
}
