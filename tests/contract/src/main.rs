//! Generates what follows from the Rust types: JSON Schemas of the notifications, an AsyncAPI
//! document of the channel, an OpenAPI document of the same over HTTP, the TypeScript types of the
//! client, the settings tables of the READMEs, and the topics in the manifests. A test fails when a
//! committed file is out of date.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use harness::workspace;
use serde_json::Value;

mod channel;
mod http;
mod notifications;
mod samples;
mod settings;
mod typescript;

fn main() -> anyhow::Result<()> {
    for (path, text) in files()? {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Returns every generated file and its content.
fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let client = workspace::root().join("ws-gateway/client");
    let (notifications, channel) = (notifications::schema()?, channel::document()?);
    let mut files = settings::files()?;
    files.extend([
        (client.join("contract/notifications.schema.json"), pretty(&notifications)?),
        (client.join("contract/asyncapi.json"), pretty(&channel)?),
        (client.join("contract/openapi.json"), pretty(&http::document())?),
        (client.join("src/samples.ts"), samples::module()?),
        (client.join("src/contract.ts"), typescript::module(&notifications, &channel)?),
    ]);
    Ok(files)
}

fn pretty(document: &Value) -> anyhow::Result<String> {
    // Intra-doc links become plain names.
    let text = serde_json::to_string_pretty(document)?;
    Ok(text.replace("[`", "`").replace("`]", "`") + "\n")
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn committed_files_are_up_to_date() {
        for (path, text) in files().unwrap() {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == text, "{} is out of date: run `make contract`", path.display());
        }
    }

    #[test]
    fn the_example_of_a_new_event_type_applies() {
        let document = workspace::root().join(".github/CONTRIBUTING.md");
        let text = fs::read_to_string(document).unwrap();
        let diff = text.split_once("```diff\n").and_then(|(_, rest)| rest.split_once("```"));
        let (diff, _) = diff.expect("CONTRIBUTING.md shows a diff");
        let mut git = Command::new("git");
        git.args(["apply", "--check"]).current_dir(workspace::root());
        let mut git = git.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        git.stdin.take().unwrap().write_all(diff.as_bytes()).unwrap();
        let output = git.wait_with_output().unwrap();
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the diff in CONTRIBUTING.md does not apply:\n{problem}");
    }
}
