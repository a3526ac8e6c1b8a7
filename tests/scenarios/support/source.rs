//! The Rust sources of the repository, parsed: file and function lengths, and the graph of module
//! imports.

mod graph;
mod parse;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub use graph::{Graph, Import};
pub use parse::{Function, ParsedFile, parse};

/// Folders without sources of this project.
const SKIPPED: &[&str] = &["target", "node_modules"];

/// Returns the paths of all Rust files under `folder`, sorted.
///
/// # Errors
/// If a folder cannot be read.
pub fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&&*name) {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads and parses a file.
///
/// # Errors
/// If the file cannot be read or is not valid Rust; the error names it.
pub fn read(path: &Path) -> anyhow::Result<ParsedFile> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    parse(&text).with_context(|| path.display().to_string())
}

/// Returns the module path of a file below `src`: `hub/user.rs` is `hub::user`, and `lib.rs` is
/// the crate root.
#[must_use]
pub fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("lib" | "mod")) {
        path.pop();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_path_follows_the_file_path() {
        assert_eq!(module_path(Path::new("hub/user.rs")), ["hub", "user"]);
        assert_eq!(module_path(Path::new("hub.rs")), ["hub"]);
        assert!(module_path(Path::new("lib.rs")).is_empty());
    }
}
