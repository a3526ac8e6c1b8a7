//! Runs Prometheus on a free port: it scrapes services, evaluates rules and answers queries.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use harness::{eventually, free_port, http, process::Process, service::Service, workspace};

/// Longest wait until Prometheus is ready.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Interval of scrapes and evaluations; short, as a rate needs two samples.
const INTERVAL: &str = "500ms";

/// A running Prometheus; it ends on drop.
#[derive(Debug)]
pub struct Prometheus {
    // Declared first, so that it ends before its folder is removed.
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts `program` so that it scrapes each service as a job named after its binary and
    /// evaluates the rule files.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn start(
        program: &str,
        services: impl Iterator<Item = &Service>,
        rules: &[PathBuf],
    ) -> anyhow::Result<Self> {
        let folder = workspace::temporary("prometheus-")?;
        let config = folder.path().join("prometheus.yml");
        // JSON is valid YAML.
        std::fs::write(&config, configuration(services, rules).to_string())?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let process = launch(program, &config, folder.path(), address)?;
        let prometheus = Self { process, address, _folder: folder };
        eventually("Prometheus is ready", START_LIMIT, async || {
            let process = &prometheus.process;
            ensure!(process.is_running(), "it has exited: {}", process.log_tail());
            let (status, body) = http::get(address, "/-/ready").await?;
            ensure!(status == 200, "expected status 200, got {status} {body}");
            Ok(())
        })
        .await?;
        Ok(prometheus)
    }

    /// Evaluates an expression and returns its series with labels and value.
    ///
    /// # Errors
    /// When Prometheus does not answer or rejects the expression.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let encoded: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let mut answer = self.get(&format!("/api/v1/query?query={encoded}")).await?;
        match answer["result"].take() {
            Value::Array(series) => Ok(series),
            other => anyhow::bail!("{expression}: {other}"),
        }
    }

    /// Returns every rule with the result of its last evaluation.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub async fn rules(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.get("/api/v1/rules").await?;
        let groups = answer["groups"].as_array().context("the response has groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        Ok(rules.flatten().cloned().collect())
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = http::get(self.address, path).await?;
        ensure!(status == 200, "{path}: expected status 200, got {status} {body}");
        let mut answer: Value = serde_json::from_str(&body)?;
        Ok(answer["data"].take())
    }
}

fn configuration<'a>(services: impl Iterator<Item = &'a Service>, rules: &[PathBuf]) -> Value {
    let job = |service: &Service| {
        json!({
            "job_name": service.name(),
            "static_configs": [{"targets": [service.admin().to_string()]}],
            "relabel_configs": [{"target_label": "job", "replacement": service.binary()}],
        })
    };
    json!({
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": rules,
        "scrape_configs": services.map(job).collect::<Vec<_>>(),
    })
}

fn launch(
    program: &str,
    config: &Path,
    folder: &Path,
    address: SocketAddr,
) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
    Process::start("prometheus", &command, &folder.join("log"))
}
