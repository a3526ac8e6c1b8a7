//! Validates documents against JSON Schemas and KEDA's TypeScript types.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jsonschema::{Retrieve, Uri};
use serde_json::Value;
use tempfile::TempDir;

use super::tool;
use crate::node;
use harness::workspace;

/// Validates a value against a JSON Schema; references are resolved in the schema's folder.
///
/// # Errors
/// Lists every validation error.
pub fn conforms(value: &Value, schema: &Path) -> anyhow::Result<()> {
    let folder = schema.parent().context("a schema file has a folder")?.to_owned();
    let options = jsonschema::options().with_retriever(Folder(folder));
    let validator = options.build(&read(schema)?)?;
    let errors = validator.iter_errors(value);
    let errors = errors.map(|error| format!("{}: {error}", error.instance_path()));
    let errors: Vec<String> = errors.collect();
    if errors.is_empty() { Ok(()) } else { bail!("{}", errors.join("\n")) }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

/// Resolves references by file name.
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

/// Returns whether KEDA's types and a TypeScript compiler are installed.
#[must_use]
pub fn has_keda() -> bool {
    node::is_ready() && tool("keda/.installed").is_ok()
}

/// Validates a ScaledObject against KEDA's types.
///
/// # Errors
/// Includes the compiler's output.
pub async fn conforms_to_keda(scaled: &Value) -> anyhow::Result<()> {
    // The compiler looks for packages in parent folders.
    let folder: TempDir = tempfile::Builder::new().prefix("check-").tempdir_in(tool("keda")?)?;
    let source = format!(
        "import type {{ IScaledObject }} from \
         \"@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject\";\n\
         export const scaledObject: IScaledObject = {scaled};\n"
    );
    std::fs::write(folder.path().join("check.ts"), source)?;
    let compiler = workspace::root().join("ws-gateway/client/node_modules/.bin/tsc");
    let compiler = compiler.canonicalize()?;
    let compiler = compiler.to_str().context("the path is UTF-8")?;
    let options =
        "--noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler check.ts";
    let arguments: Vec<&str> = options.split(' ').collect();
    node::run(folder.path(), compiler, &arguments).await.map(drop)
}
