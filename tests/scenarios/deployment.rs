//! Deployment artefacts (images, compose file, manifests, alert rules, documents), as far as they
//! can be checked without containers, and both services under autoscalers and Prometheus.

pub(crate) mod autoscaling;
pub(crate) mod containers;
pub(crate) mod documents;
pub(crate) mod manifests;
pub(crate) mod monitoring;
pub(crate) mod network;
pub(crate) mod prometheus;
pub(crate) mod workloads;

use serde_json::Value;

/// Kind and name of the workload of each service.
const WORKLOADS: [(&str, &str); 2] =
    [("StatefulSet", "ingest-worker"), ("Deployment", "ws-gateway")];

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
