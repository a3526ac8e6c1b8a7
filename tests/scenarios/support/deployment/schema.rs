//! What a document is held to: JSON Schemas, and the types of KEDA's objects.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jsonschema::{Retrieve, Uri};
use serde_json::Value;
use tempfile::TempDir;

use super::tool;
use crate::node;
use harness::workspace;

/// Holds a value to a JSON Schema. What the schema refers to is in its folder.
///
/// # Errors
/// Lists everything that is wrong.
pub fn conforms(value: &Value, schema: &Path) -> anyhow::Result<()> {
    let folder = schema.parent().context("a file is in a folder")?.to_owned();
    let options = jsonschema::options().with_retriever(Folder(folder));
    let validator = options.build(&read(schema)?)?;
    let wrong = validator.iter_errors(value);
    let wrong = wrong.map(|error| format!("{}: {error}", error.instance_path()));
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

/// Finds schemas by the last part of their names.
struct Folder(PathBuf);

impl Retrieve for Folder {
    fn retrieve(
        &self,
        uri: &Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let name = uri.path().as_str().rsplit('/').next().unwrap_or_default();
        Ok(read(&self.0.join(name))?)
    }
}

/// Whether KEDA's objects can be checked: its types and a compiler are installed.
#[must_use]
pub fn has_keda() -> bool {
    node::is_ready() && tool("keda/.installed").is_ok()
}

/// Holds a ScaledObject to KEDA's types, which know every field.
///
/// # Errors
/// Says what the compiler does.
pub async fn conforms_to_keda(scaled: &Value) -> anyhow::Result<()> {
    // Next to the types, or the compiler does not find them.
    let folder: TempDir = tempfile::Builder::new().prefix("check-").tempdir_in(tool("keda")?)?;
    let source = format!(
        "import type {{ IScaledObject }} from \
         \"@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject\";\n\
         export const it: IScaledObject = {scaled};\n"
    );
    std::fs::write(folder.path().join("it.ts"), source)?;
    let compiler = workspace::root().join("ws-gateway/client/node_modules/.bin/tsc");
    let compiler = compiler.canonicalize()?;
    let compiler = compiler.to_str().context("the path is a text")?;
    let how = "--noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler it.ts";
    let arguments: Vec<&str> = how.split(' ').collect();
    node::run(folder.path(), compiler, &arguments).await.map(drop)
}
