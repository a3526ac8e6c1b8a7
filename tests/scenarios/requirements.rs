//! Programs that some scenarios need and not every machine has. A scenario whose requirement is
//! missing is skipped with a reason, which the run prints.

use std::process::Command;

use support::{deployment, node};

/// Skips a scenario that returns it as its error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Skipped(pub(crate) &'static str);

/// Requires Node.js and the packages of the browser client.
pub(crate) fn node() -> anyhow::Result<()> {
    require(node::is_ready(), "Node.js 20.19 or the packages of the browser client are missing")
}

/// Requires the types of the custom resources in the manifests, by which they are validated.
pub(crate) fn crd_types() -> anyhow::Result<()> {
    require(
        deployment::has_crd_types(),
        "Node.js 20.19, the client's packages or the types of custom resources are missing",
    )
}

/// Requires a program of Prometheus and returns its name.
pub(crate) fn prometheus(program: &'static str) -> anyhow::Result<&'static str> {
    let version = Command::new(program).arg("--version").output();
    require(version.is_ok_and(|version| version.status.success()), "Prometheus is not installed")?;
    Ok(program)
}

fn require(met: bool, otherwise: &'static str) -> anyhow::Result<()> {
    if met { Ok(()) } else { Err(Skipped(otherwise).into()) }
}
