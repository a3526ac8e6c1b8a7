//! The browser client: its unit tests and types, the demo page built from it, and its installation
//! as a package. Needs Node.js.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail, ensure};
use harness::{
    events::fresh_user, eventually, http, process::Process, proxy::Proxy, service::Service,
    stack::Layout, token, workspace,
};
use serde_json::{Value, json};
use support::node;
use tokio::time::{interval, timeout};

use crate::{context::Context, requirements, runner::scenarios};

scenarios![
    the_unit_tests_of_the_client_pass,
    its_types_and_examples_type_check,
    the_committed_demo_page_is_up_to_date,
    the_package_installs_and_type_checks_in_a_new_vite_project,
    the_clients_of_a_killed_gateway_return_within_the_handshake_limit_of_another,
];

/// Runs the client's own tests; the error lists those that failed.
async fn the_unit_tests_of_the_client_pass(_: &Context) -> anyhow::Result<()> {
    requirements::node()?;
    let folder = workspace::temporary("vitest-")?;
    let report = folder.path().join("report.json");
    let output = format!("--outputFile={}", report.display());
    let run = node::run(&node::client(), "npm", &["test", "--", "--reporter=json", &output]).await;
    let Ok(report) = std::fs::read(report) else {
        return run.map(drop).and_then(|()| bail!("the tests wrote no report"));
    };
    let report: Value = serde_json::from_slice(&report)?;
    let files = report["testResults"].as_array().into_iter().flatten();
    let tests = files.flat_map(|file| file["assertionResults"].as_array().into_iter().flatten());
    let failed = tests.filter(|test| test["status"] != "passed");
    let failed = failed.map(|test| format!("{}: {}", test["fullName"], test["failureMessages"]));
    let failed: Vec<String> = failed.collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    let is_complete = report["success"] == true && report["numPassedTests"].as_u64() > Some(0);
    ensure!(is_complete, "expected that every test file runs and passes, got {report}");
    run.map(drop)
}

async fn its_types_and_examples_type_check(_: &Context) -> anyhow::Result<()> {
    requirements::node()?;
    node::run(&node::client(), "npm", &["run", "check"]).await.map(drop)
}

async fn the_committed_demo_page_is_up_to_date(_: &Context) -> anyhow::Result<()> {
    requirements::node()?;
    node::run(&node::client(), "npm", &["run", "page", "--", "--check"]).await.map(drop)
}

/// The main module of the project; a wrong use is a type error.
const APP: &str = r#"
import { connect, Feed, ladder, type Status } from "@huleedu/live-notifications";
import { MockGateway } from "@huleedu/live-notifications/mock";
import { useNotifications } from "@huleedu/live-notifications/react";
import { notifications } from "@huleedu/live-notifications/svelte";
import { text } from "@huleedu/live-notifications/texts";
import * as vue from "@huleedu/live-notifications/vue";

const client = connect({
  url: "wss://live.example.org/ws",
  token: async () => (await fetch("/token")).text(),
  categories: ["system_alerts"],
  transports: ladder(),
});
new MockGateway().send("class_created", { data: { class_designation: "9B" } });
client.onAny((n) => console.log(text(n, "sv")));
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
export { notifications, useNotifications, vue };
"#;

async fn the_package_installs_and_type_checks_in_a_new_vite_project(
    _: &Context,
) -> anyhow::Result<()> {
    requirements::node()?;
    let (client, folder) = (node::client(), workspace::temporary("vite-")?);
    let project = folder.path();
    let destination = project.to_str().context("a path is text")?;
    let packed = node::run(&client, "npm", &["pack", "--pack-destination", destination]).await?;
    let package = packed.lines().last().context("npm pack prints the file name")?;
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
    ensure!(project.join("dist/index.html").exists(), "vite build wrote no page");
    Ok(())
}

/// The manifest of a project that uses the package, with tools in the versions that npm has cached.
fn manifest(client: &Path, package: &str) -> anyhow::Result<Value> {
    let lock: Value = serde_json::from_slice(&std::fs::read(client.join("package-lock.json"))?)?;
    let version = |name: &str| lock["packages"][format!("node_modules/{name}")]["version"].clone();
    let tools = ["vite", "typescript", "react", "@types/react", "svelte", "vue"];
    let tools: serde_json::Map<String, Value> =
        tools.iter().map(|name| ((*name).to_owned(), version(name))).collect();
    Ok(json!({
        "type": "module",
        "dependencies": {"@huleedu/live-notifications": format!("file:{package}")},
        "devDependencies": tools,
    }))
}

const CLIENTS: u32 = 200;
/// The clients return over 10 s; twice their mean rate, as so few vary more than 10,000 do.
const HANDSHAKES_PER_SECOND: u32 = CLIENTS / 10 * 2;
/// Longest time for all clients to connect.
const CONNECT: Duration = Duration::from_mins(1);

/// Waits until all clients are connected. Returns the metrics then, and the number of handshakes in
/// each second until then.
async fn attempts_until_connected(gateway: &Service) -> anyhow::Result<(String, Vec<u32>)> {
    let attempts = async {
        let (mut ticks, mut before) = (interval(Duration::from_secs(1)), 0);
        let mut by_second = Vec::new();
        loop {
            ticks.tick().await;
            let page = gateway.metrics().await?;
            let of_status = |line: &str| line.rsplit_once(' ')?.1.parse::<u32>().ok();
            let lines =
                page.lines().filter(|line| line.starts_with("websocket_connections_total{"));
            let all = lines.filter_map(of_status).sum();
            by_second.push(all - before);
            before = all;
            if http::metric(&page, "websocket_active_connections") == Some(f64::from(CLIENTS)) {
                return Ok((page, by_second));
            }
        }
    };
    timeout(CONNECT, attempts).await.context("not all clients have connected")?
}

async fn wait_for_clients(gateway: &Service) -> anyhow::Result<String> {
    eventually("all clients are connected", CONNECT, async || {
        let page = gateway.metrics().await?;
        let open = http::metric(&page, "websocket_active_connections");
        ensure!(open == Some(f64::from(CLIENTS)), "{open:?} of {CLIENTS}");
        Ok(page)
    })
    .await
}

async fn the_clients_of_a_killed_gateway_return_within_the_handshake_limit_of_another(
    context: &Context,
) -> anyhow::Result<()> {
    requirements::node()?;
    let gateway_settings = vec![("MAX_HANDSHAKES_PER_SECOND", HANDSHAKES_PER_SECOND.to_string())];
    let layout = Layout { workers: 0, gateways: 2, gateway_settings, ..Layout::default() };
    let mut stack = context.own_stack(&layout).await?;
    let proxy = Proxy::start(stack.gateways[0].address()).await?;
    let tokens =
        (0..CLIENTS).map(|_| token::sign(&token::claims(&fresh_user(), 600), &stack.secret));
    let tokens = json!(tokens.collect::<anyhow::Result<Vec<String>>>()?);
    let url = format!("ws://{}/ws", proxy.address());
    let folder = workspace::temporary("clients-")?;
    let bundle = format!("--outfile={}", folder.path().join("live.mjs").display());
    let arguments = ["esbuild", "src/index.ts", "--bundle", "--format=esm", &bundle];
    node::run(&node::client(), "npx", &arguments).await?;
    let script = format!(
        "import {{ connect }} from './live.mjs';
         const start = (token) => connect({{ url: '{url}', token: () => token }}).start();
         {tokens}.forEach((token, number) => setTimeout(start, number * 30, token));"
    );
    std::fs::write(folder.path().join("clients.mjs"), script)?;
    let mut command = Command::new("node");
    // Node.js 20 has no WebSocket without it.
    command.args(["--experimental-websocket", "clients.mjs"]).current_dir(folder.path());
    let _clients = Process::start("node", &command, &folder.path().join("log"))?;
    wait_for_clients(&stack.gateways[0]).await?;
    proxy.set_server(stack.gateways[1].address());
    stack.gateways[0].kill().await?;
    let (page, attempts) = attempts_until_connected(&stack.gateways[1]).await?;
    eprintln!("connect attempts of {CLIENTS} clients after kill -9, by second: {attempts:?}");
    for status in ["rate_limited", "address_rate_limited"] {
        let name = format!("websocket_connections_total{{status=\"{status}\"}}");
        let refused = http::metric(&page, &name);
        ensure!(refused == Some(0.0), "{refused:?} of {CLIENTS} handshakes were {status}");
    }
    stack.gateways.remove(0);
    stack.shut_down_and_check_logs().await
}
