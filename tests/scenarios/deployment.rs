//! What the system is run with: as far as it can be checked without running it in containers,
//! and what the autoscalers and Prometheus do to the services and ask them.

pub(crate) mod autoscaling;
pub(crate) mod containers;
pub(crate) mod documents;
pub(crate) mod manifests;
pub(crate) mod monitoring;
pub(crate) mod prometheus;
