//! Files that a deployment consists of (Dockerfile, compose file, manifests, rules, dashboard), and
//! the tools and schemas that check them, which `tests/setup.sh` installs.

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
pub use schema::{conforms, conforms_to_crd, has_crd_types, is_custom};

/// Reads a text file of the repository.
///
/// # Errors
/// When it cannot be read; names it.
pub fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// Returns the path of a file of an installed tool.
///
/// # Errors
/// When it is missing; names the command that installs it.
pub fn tool(path: &str) -> anyhow::Result<PathBuf> {
    let file = root().join("target/tools").join(path);
    ensure!(file.exists(), "{} does not exist; run `make setup`", file.display());
    Ok(file)
}

/// Runs an installed tool at the root of the repository and returns its standard output.
///
/// # Errors
/// When it is not installed, or fails; includes its output.
pub async fn run(tool_name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let program = tool(&format!("bin/{tool_name}"))?;
    let program = program.to_str().context("the path is UTF-8")?;
    node::run(&root(), program, arguments).await
}

/// Parses the documents of a YAML text; resolves aliases and merge keys.
///
/// # Errors
/// When it is not valid YAML, or cannot be represented as JSON.
pub fn documents(yaml: &str) -> anyhow::Result<Vec<Value>> {
    let documents = serde_yaml_ng::Deserializer::from_str(yaml);
    let document = |document| {
        let mut value = serde_yaml_ng::Value::deserialize(document)?;
        value.apply_merge()?;
        anyhow::Ok(serde_json::to_value(value)?)
    };
    documents.map(document).filter(|value| !matches!(value, Ok(Value::Null))).collect()
}

/// Parses a YAML file of the repository that has one document.
///
/// # Errors
/// When it has none or several.
pub fn document(path: &str) -> anyhow::Result<Value> {
    let mut documents = documents(&read(path)?).with_context(|| path.to_owned())?;
    let last = documents.pop().with_context(|| format!("{path} is empty"))?;
    ensure!(documents.is_empty(), "{path} has more than one document");
    Ok(last)
}

/// Returns the names of all settings of a service, without the `KAFKA_PROPERTY_` prefix.
///
/// # Errors
/// When `service` is none of the two services.
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
    fn merge_keys_are_resolved() {
        let yaml = "a: &a {x: 1}\nb: {<<: *a, y: 2}\n---\n---\nc: 3\n";
        let documents = documents(yaml).unwrap();
        assert_eq!(documents, [json!({"a": {"x": 1}, "b": {"x": 1, "y": 2}}), json!({"c": 3})]);
    }

    #[test]
    fn settings_belong_to_their_service() {
        let [worker, gateway] = ["ingest-worker", "ws-gateway"].map(|name| settings(name).unwrap());
        assert!(worker.contains("CLASS_CREATED_TOPIC") && !worker.contains("CORS_ORIGINS"));
        assert!(gateway.contains("CORS_ORIGINS") && gateway.contains("REDIS_URL"));
    }
}
