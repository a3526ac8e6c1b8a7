//! The browser client: a scenario per file of its own tests, its types, the demo page built from it,
//! and its installation as a package. Needs Node.js.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, ensure};
use harness::workspace;
use serde_json::{Value, json};
use support::node;

use crate::{Scenario, scenario, world::World};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(it_reconnects_as_the_gateway_asks),
        scenario(it_renews_tokens),
        scenario(it_delivers_each_event_once_and_typed),
        scenario(it_follows_the_events_of_its_page),
        scenario(tabs_share_one_connection),
        scenario(fixtures_and_documents_validate_and_the_client_is_small),
        scenario(every_test_file_has_a_scenario),
        scenario(its_types_and_examples_type_check),
        scenario(the_committed_demo_page_is_up_to_date),
        scenario(the_package_installs_and_checks_in_a_fresh_vite_project),
    ]
}

async fn it_reconnects_as_the_gateway_asks(world: Arc<World>) -> anyhow::Result<()> {
    passes(&world, "reconnect").await
}

async fn it_renews_tokens(world: Arc<World>) -> anyhow::Result<()> {
    passes(&world, "tokens").await
}

async fn it_delivers_each_event_once_and_typed(world: Arc<World>) -> anyhow::Result<()> {
    passes(&world, "notifications").await
}

async fn it_follows_the_events_of_its_page(world: Arc<World>) -> anyhow::Result<()> {
    passes(&world, "page").await
}

async fn tabs_share_one_connection(world: Arc<World>) -> anyhow::Result<()> {
    passes(&world, "tabs").await
}

async fn fixtures_and_documents_validate_and_the_client_is_small(
    world: Arc<World>,
) -> anyhow::Result<()> {
    passes(&world, "contract").await
}

async fn every_test_file_has_a_scenario(world: Arc<World>) -> anyhow::Result<()> {
    let files = world.client_tests().await?.as_array().context("a list")?.len();
    ensure!(files == 6, "{files} files of tests, and a scenario for each of 6");
    Ok(())
}

/// Checks what the run of all tests says of one file.
async fn passes(world: &World, file: &str) -> anyhow::Result<()> {
    let results = world.client_tests().await?;
    let name = format!("/{file}.test.ts");
    let mut all = results.as_array().into_iter().flatten();
    let result = all
        .find(|result| result["name"].as_str().is_some_and(|path| path.ends_with(&name)))
        .with_context(|| format!("{name} was not run"))?;
    let tests = result["assertionResults"].as_array().context("it has tests")?;
    let failed: Vec<String> = tests
        .iter()
        .filter(|test| test["status"] != "passed")
        .map(|test| format!("{}: {}", test["fullName"], test["failureMessages"]))
        .collect();
    ensure!(
        result["status"] == "passed" && failed.is_empty() && !tests.is_empty(),
        "{name}: {}\n{}",
        result["message"],
        failed.join("\n")
    );
    eprintln!("{name}: {} tests passed", tests.len());
    Ok(())
}

async fn its_types_and_examples_type_check(world: Arc<World>) -> anyhow::Result<()> {
    world.node()?;
    node::run(&node::client(), "npm", &["run", "check"]).await?;
    Ok(())
}

async fn the_committed_demo_page_is_up_to_date(world: Arc<World>) -> anyhow::Result<()> {
    world.node()?;
    node::run(&node::client(), "npm", &["run", "page", "--", "--check"]).await?;
    Ok(())
}

const APP: &str = r#"
import { connect, Feed, type Status } from "@huleedu/live-notifications";
import { useNotifications } from "@huleedu/live-notifications/react";
import { notifications } from "@huleedu/live-notifications/svelte";

const client = connect({
  url: "wss://live.example.org/ws",
  token: async () => (await fetch("/token")).text(),
  categories: ["system_alerts"],
});
client.on("student_matches_suggested", (n) => {
  const deadline: string = n.data.confirmation_deadline;
  const scores = n.data.suggested_matches?.map((match) => match.confidence_score);
  console.log(deadline, scores);
});
// @ts-expect-error: this notification says nothing of matches.
client.on("class_created", (n) => n.data.suggested_matches);
// @ts-expect-error: there is no such category.
client.filter(["gossip"]);
client.onStatus((status: Status) => status.state === "waiting" && console.log(status.retryAt));
export const feed = new Feed(client);
export { notifications, useNotifications };
"#;

async fn the_package_installs_and_checks_in_a_fresh_vite_project(
    world: Arc<World>,
) -> anyhow::Result<()> {
    world.node()?;
    let (client, folder) = (node::client(), workspace::temporary("vite-")?);
    let project = folder.path();
    let destination = project.to_str().context("a path is text")?;
    let packed = node::run(&client, "npm", &["pack", "--pack-destination", destination]).await?;
    let package = packed.lines().last().context("it names the file")?;
    std::fs::write(project.join("package.json"), manifest(&client, package)?.to_string())?;
    let settings = json!({"compilerOptions": {
        "target": "es2022", "module": "esnext", "moduleResolution": "bundler", "strict": true,
        "lib": ["es2023", "dom"], "types": [], "noEmit": true,
    }});
    std::fs::write(project.join("tsconfig.json"), settings.to_string())?;
    std::fs::write(project.join("main.ts"), APP)?;
    let page = r#"<!doctype html><script type="module" src="/main.ts"></script>"#;
    std::fs::write(project.join("index.html"), page)?;
    node::run(project, "npm", &["install", "--prefer-offline", "--no-audit", "--no-fund"]).await?;
    node::run(project, "npx", &["tsc"]).await?;
    node::run(project, "npx", &["vite", "build"]).await?;
    ensure!(project.join("dist/index.html").exists(), "nothing was built");
    Ok(())
}

/// Of a project that uses the package, with the tools in the versions that are cached already.
fn manifest(client: &Path, package: &str) -> anyhow::Result<Value> {
    let lock: Value = serde_json::from_slice(&std::fs::read(client.join("package-lock.json"))?)?;
    let version = |name: &str| lock["packages"][format!("node_modules/{name}")]["version"].clone();
    let tools = ["vite", "typescript", "react", "@types/react", "svelte"];
    let tools: serde_json::Map<String, Value> =
        tools.iter().map(|name| ((*name).to_owned(), version(name))).collect();
    Ok(json!({
        "type": "module",
        "dependencies": {"@huleedu/live-notifications": format!("file:{package}")},
        "devDependencies": tools,
    }))
}
