//! What the system is run with (Dockerfile, compose file, manifests, rules, dashboard), and the
//! tools and schemas that it is checked with, which `tests/setup.sh` installs.

pub mod monitoring;
mod overlay;
mod schema;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize as _;
use serde_json::Value;
use shared::config::markdown_table;

use crate::node;

pub use harness::workspace::root;
pub use overlay::Overlay;
pub use schema::{conforms, conforms_to_keda, has_keda};

/// A text of the repository.
///
/// # Errors
/// When it cannot be read; names it.
pub fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// A file of one of the installed tools.
///
/// # Errors
/// When it is not there; says what installs it.
pub fn tool(path: &str) -> anyhow::Result<PathBuf> {
    let file = root().join("target/tools").join(path);
    ensure!(file.exists(), "{} does not exist; run `make setup`", file.display());
    Ok(file)
}

/// Runs one of the installed tools at the root of the repository and returns what it said.
///
/// # Errors
/// When it is not installed, or fails; says what it said.
pub async fn run(tool_name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let program = tool(&format!("bin/{tool_name}"))?;
    let program = program.to_str().context("the path is a text")?;
    node::run(&root(), program, arguments).await
}

/// The documents of a YAML text, aliases and merge keys resolved.
///
/// # Errors
/// When it is not YAML, or says something that JSON cannot.
pub fn documents(yaml: &str) -> anyhow::Result<Vec<Value>> {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml);
    let document = |document| {
        let mut value = serde_yaml_ng::Value::deserialize(document)?;
        value.apply_merge()?;
        anyhow::Ok(serde_json::to_value(value)?)
    };
    documents.map(document).filter(|value| !matches!(value, Ok(Value::Null))).collect()
}

/// The only document of a YAML file of the repository.
///
/// # Errors
/// When there is another number of them.
pub fn document(path: &str) -> anyhow::Result<Value> {
    let mut documents = documents(&read(path)?).with_context(|| path.to_owned())?;
    let last = documents.pop().with_context(|| format!("{path} is empty"))?;
    ensure!(documents.is_empty(), "{path} has more than one document");
    Ok(last)
}

/// The names of all settings of a service, the prefix of the Kafka client's properties left out.
///
/// # Errors
/// When there is no such service.
pub fn settings(service: &str) -> anyhow::Result<BTreeSet<String>> {
    let table = match service {
        "ingest-worker" => markdown_table(&ingest_worker::config::command()),
        "ws-gateway" => markdown_table(&ws_gateway::config::command()),
        other => bail!("{other} is none of the services"),
    };
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_merged_in_yaml_is_there() {
        let yaml = "a: &a {x: 1}\nb: {<<: *a, y: 2}\n---\n---\nc: 3\n";
        let documents = documents(yaml).unwrap();
        assert_eq!(documents, [json!({"a": {"x": 1}, "b": {"x": 1, "y": 2}}), json!({"c": 3})]);
    }

    #[test]
    fn the_settings_are_those_of_the_services() {
        let [worker, gateway] = ["ingest-worker", "ws-gateway"].map(|name| settings(name).unwrap());
        assert!(worker.contains("CLASS_CREATED_TOPIC") && !worker.contains("CORS_ORIGINS"));
        assert!(gateway.contains("CORS_ORIGINS") && gateway.contains("REDIS_URL"));
    }
}
