//! The audit log: who did what with a command, or on the admin port. Its lines have a target of
//! their own and are written at every log level.

/// The target of audit lines.
pub const TARGET: &str = "audit";

/// Returns the user and the host of this process.
#[must_use]
pub fn caller() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "unknown".into());
    format!("{user}@{}", host_name())
}

/// Returns the name of the host; in Kubernetes that of the pod.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
