//! Writes down what a browser is told and may say, from the types of `shared` and `ws-gateway`:
//! a JSON Schema of every notification, an AsyncAPI document of the channel, and the TypeScript
//! types of the client. A test holds the committed files to the types.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use harness::workspace;
use serde_json::Value;

mod channel;
mod notifications;
mod typescript;

fn main() -> anyhow::Result<()> {
    for (path, text) in files()? {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Every file and what it has to hold.
fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let client = workspace::root().join("ws-gateway/client");
    let (told, channel) = (notifications::schema()?, channel::document()?);
    Ok(vec![
        (client.join("contract/notifications.schema.json"), pretty(&told)?),
        (client.join("contract/asyncapi.json"), pretty(&channel)?),
        (client.join("src/contract.ts"), typescript::module(&told, &channel)?),
    ])
}

fn pretty(document: &Value) -> anyhow::Result<String> {
    // What is a link in the documentation of the code is a name here.
    let text = serde_json::to_string_pretty(document)?;
    Ok(text.replace("[`", "`").replace("`]", "`") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_files_say_what_the_types_say() {
        for (path, text) in files().unwrap() {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == text, "{} is out of date: run `make contract`", path.display());
        }
    }
}
