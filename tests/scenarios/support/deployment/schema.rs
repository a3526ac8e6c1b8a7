//! Validation of documents: against JSON Schemas, and of custom resources against their types.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use harness::workspace;
use jsonschema::{Retrieve, Uri};
use serde_json::Value;

use super::tool;
use crate::node;

/// Validates a value against a JSON Schema, whose references are files of the same folder.
///
/// # Errors
/// Lists every violation.
pub fn conforms(value: &Value, schema: &Path) -> anyhow::Result<()> {
    let folder = schema.parent().context("a file is in a folder")?.to_owned();
    let options = jsonschema::options().with_retriever(Folder(folder));
    let validator = options.build(&read(schema)?)?;
    let violations = validator.iter_errors(value);
    let violations = violations.map(|error| format!("{}: {error}", error.instance_path()));
    let violations: Vec<String> = violations.collect();
    if violations.is_empty() { Ok(()) } else { bail!("{}", violations.join("\n")) }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&text)?)
}

/// Resolves references by the last segment of their path.
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

/// Returns whether custom resources can be validated: their types and a compiler are installed.
#[must_use]
pub fn has_crd_types() -> bool {
    node::is_ready() && tool("crds/.installed").is_ok()
}

/// Returns whether a resource is defined by a CRD, so that Kubernetes has no schema of it.
#[must_use]
pub fn is_custom(resource: &Value) -> bool {
    package(resource).is_some()
}

/// The npm package with the types of a custom resource.
fn package(resource: &Value) -> Option<&'static str> {
    match resource["apiVersion"].as_str()?.split('/').next()? {
        "keda.sh" => Some("keda"),
        "gateway.networking.k8s.io" => Some("gateway-api"),
        _ => None,
    }
}

/// Type-checks a custom resource, which finds unknown fields too.
///
/// # Errors
/// Returns the compiler's messages.
pub async fn conforms_to_crd(resource: &Value) -> anyhow::Result<()> {
    let package = package(resource).context("the resource has types")?;
    let [version, kind] = ["apiVersion", "kind"].map(|field| resource[field].as_str());
    let (version, kind) = (version.context("apiVersion")?, kind.context("kind")?);
    // Next to the types, so that the compiler resolves the import.
    let folder = tempfile::Builder::new().prefix("check-").tempdir_in(tool("crds")?)?;
    let source = format!(
        "import type {{ I{kind} }} from \"@kubernetes-models/{package}/{version}/{kind}\";\n\
         export const resource: I{kind} = {resource};\n"
    );
    std::fs::write(folder.path().join("resource.ts"), source)?;
    let compiler = workspace::root().join("ws-gateway/client/node_modules/.bin/tsc");
    let compiler = compiler.canonicalize()?;
    let compiler = compiler.to_str().context("the path is UTF-8")?;
    let options =
        "--noEmit --strict --skipLibCheck --module esnext --moduleResolution bundler resource.ts";
    let arguments: Vec<&str> = options.split(' ').collect();
    node::run(folder.path(), compiler, &arguments).await.map(drop)
}
