//! Paths of the repository: built binaries, fixtures, and the cache under `target/`. Nothing outside
//! of the repository is written.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The fixtures: the cases of every event.
#[must_use]
pub fn fixtures() -> PathBuf {
    root().join("shared/fixtures")
}

/// A binary of this workspace, built with the same profile as the running program.
///
/// # Errors
/// When it has not been built; says how to.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = profile()?.join(name);
    anyhow::ensure!(
        path.exists(),
        "{} does not exist; build it with `cargo build --workspace`",
        path.display()
    );
    Ok(path)
}

/// A folder under `target/` that survives a run.
///
/// # Errors
/// When it cannot be created.
pub fn cache() -> anyhow::Result<PathBuf> {
    let path = profile()?.join("../harness");
    std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path.canonicalize()?)
}

/// A fresh folder under `target/`, removed when it is dropped.
///
/// # Errors
/// When it cannot be created.
pub fn temporary(prefix: &str) -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(cache()?)?)
}

/// `target/debug` or `target/release`, whichever the running program lies in.
fn profile() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("a program lies in a folder")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(folder.context("a build folder has a parent")?.to_owned())
}
