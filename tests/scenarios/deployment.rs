//! Deployment artefacts (images, compose file, manifests, alert rules, documents), as far as they
//! can be checked without containers, and both services under autoscalers and Prometheus.

mod autoscaling;
mod containers;
mod documents;
mod manifests;
mod monitoring;
mod network;
mod prometheus;
mod workloads;

use serde_json::Value;

use crate::runner::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let files = [
        containers::scenarios(),
        documents::scenarios(),
        manifests::scenarios(),
        workloads::scenarios(),
        network::scenarios(),
        monitoring::scenarios(),
        prometheus::scenarios(),
        autoscaling::scenarios(),
    ];
    files.into_iter().flatten().collect()
}

/// Kind and name of the workload of each service.
const WORKLOADS: [(&str, &str); 2] =
    [("StatefulSet", "ingest-worker"), ("Deployment", "ws-gateway")];

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
