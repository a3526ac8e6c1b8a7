//! Which build runs.

/// The version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, which the build of an image sets as `REVISION`.
pub const COMMIT: &str = match option_env!("REVISION") {
    Some(commit) => commit,
    None => "unknown",
};
