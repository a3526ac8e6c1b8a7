//! A Kustomize overlay of the manifests, rendered by `kubectl kustomize`.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{documents, root, run};
use harness::workspace;

/// Placeholder for secrets that a deployment provides.
const SECRET_PLACEHOLDER: &str = "redis://redis.example:6379";

/// The objects of an overlay.
#[derive(Debug)]
pub struct Overlay {
    /// `dev` or `production`.
    pub name: &'static str,
    /// The rendered objects.
    pub objects: Vec<Value>,
}

/// Copies a folder with all that is in it.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy)?;
        } else {
            std::fs::copy(path, copy)?;
        }
    }
    Ok(())
}

impl Overlay {
    /// Renders an overlay.
    ///
    /// # Errors
    /// When `kubectl kustomize` fails.
    pub async fn render(name: &'static str) -> anyhow::Result<Self> {
        Self::rendered(name, &format!("k8s/overlays/{name}")).await
    }

    /// Renders `production` with a component added to its list.
    ///
    /// # Errors
    /// As [`Overlay::edited`].
    pub async fn with_component(component: &str) -> anyhow::Result<Self> {
        let host = "  - host\n";
        Self::edited(host, &format!("{host}  - ../../components/{component}\n")).await
    }

    /// Renders `production` with a part of its `kustomization.yaml` replaced.
    ///
    /// # Errors
    /// When the file lacks that part, and as [`Overlay::render`].
    pub async fn edited(part: &str, replacement: &str) -> anyhow::Result<Self> {
        let folder = workspace::temporary("overlay-")?;
        let copy = folder.path().join("k8s");
        copy_folder(&root().join("k8s"), &copy)?;
        let overlay = copy.join("overlays/production");
        let file = overlay.join("kustomization.yaml");
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains(part), "the overlay has no {part:?}");
        std::fs::write(file, text.replace(part, replacement))?;
        Self::rendered("production", overlay.to_str().context("the path is UTF-8")?).await
    }

    async fn rendered(name: &'static str, path: &str) -> anyhow::Result<Self> {
        let rendered = run("kubectl", &["kustomize", path]).await?;
        Ok(Self { name, objects: documents(&rendered)? })
    }

    /// Renders both overlays.
    ///
    /// # Errors
    /// As [`Overlay::render`].
    pub async fn both() -> anyhow::Result<[Self; 2]> {
        Ok([Self::render("dev").await?, Self::render("production").await?])
    }

    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        let matches =
            |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        self.objects.iter().find(matches)
    }

    /// Returns the object of a kind and name.
    ///
    /// # Errors
    /// When there is none.
    pub fn object(&self, kind: &str, name: &str) -> anyhow::Result<&Value> {
        self.find(kind, name).with_context(|| format!("{}: no {kind} {name}", self.name))
    }

    /// Returns the pod spec of a workload.
    ///
    /// # Errors
    /// When there is no such workload.
    pub fn pod(&self, kind: &str, name: &str) -> anyhow::Result<&Value> {
        Ok(&self.object(kind, name)?["spec"]["template"]["spec"])
    }

    /// Returns the environment of a workload's container. A secret that is not part of the overlay
    /// is empty if it is optional, else a placeholder.
    ///
    /// # Errors
    /// When a referenced ConfigMap is missing.
    pub fn environment(&self, kind: &str, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let container = &self.pod(kind, name)?["containers"][0];
        let mut all = BTreeMap::new();
        for source in container["envFrom"].as_array().context("the container has no envFrom")? {
            let map =
                source["configMapRef"]["name"].as_str().context("envFrom is not a configMapRef")?;
            let data = self.object("ConfigMap", map)?["data"]
                .as_object()
                .context("the ConfigMap has no data")?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            all.extend(data.iter().map(|(name, value)| (name.clone(), text(value))));
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().context("a variable without a name")?;
            all.insert(name.to_owned(), self.value(&variable["valueFrom"])?);
        }
        Ok(all)
    }

    fn value(&self, source: &Value) -> anyhow::Result<String> {
        let reference = &source["secretKeyRef"];
        if reference.is_null() {
            return Ok(source["fieldRef"]["fieldPath"]
                .as_str()
                .context("a variable without fieldPath")?
                .to_owned());
        }
        let secret = reference["name"].as_str().context("secretKeyRef without a name")?;
        let key = reference["key"].as_str().context("secretKeyRef without a key")?;
        let encoded = self.find("Secret", secret).and_then(|secret| secret["data"][key].as_str());
        match encoded {
            Some(encoded) => Ok(String::from_utf8(BASE64_STANDARD.decode(encoded)?)?),
            None if reference["optional"] == true => Ok(String::new()),
            None => Ok(SECRET_PLACEHOLDER.to_owned()),
        }
    }
}
