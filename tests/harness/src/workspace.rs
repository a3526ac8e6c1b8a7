//! Paths of the repository: built binaries, fixtures, and the cache under `target/`. Nothing
//! outside of the repository is written.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

/// Returns the root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the folder with the fixtures of all events.
#[must_use]
pub fn fixtures() -> PathBuf {
    root().join("shared/fixtures")
}

/// Returns the path of a binary of this workspace, built with the profile of the running program.
///
/// # Errors
/// When it has not been built; names the command that builds it.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = profile()?.join(name);
    anyhow::ensure!(
        path.exists(),
        "{} does not exist; build it with `cargo build --workspace`",
        path.display()
    );
    Ok(path)
}

/// Returns the path of a binary of the earlier release, which `tests/earlier.sh` builds.
///
/// # Errors
/// When it has not been built.
pub fn earlier_binary(name: &str) -> anyhow::Result<PathBuf> {
    let path = profile()?.join("../earlier/build/debug").join(name);
    anyhow::ensure!(path.exists(), "{} does not exist", path.display());
    Ok(path)
}

/// Returns a folder under `target/` that persists between runs.
///
/// # Errors
/// When it cannot be created.
pub fn cache() -> anyhow::Result<PathBuf> {
    let path = profile()?.join("../harness");
    std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path.canonicalize()?)
}

/// Creates a folder under `target/` that is removed on drop.
///
/// # Errors
/// When it cannot be created.
pub fn temporary(prefix: &str) -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(cache()?)?)
}

/// Returns `target/debug` or `target/release`, whichever holds the running program.
fn profile() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().context("the running program has a folder")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(folder.context("`deps` has a parent folder")?.to_owned())
}
