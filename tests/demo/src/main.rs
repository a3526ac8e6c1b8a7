//! The whole path on one machine: Redis, an embedded broker, both services, and a page that shows
//! notifications as they arrive. `ONCE=1` sends each event once and judges what arrived instead.

use std::{net::Ipv4Addr, process::ExitCode};

use demo::{Plan, Site};
use harness::{
    kafka::Kafka,
    stack::{Layout, Stack},
};
use shared::lifecycle;
use tokio::net::TcpListener;

mod once;

/// Whom the demo is about.
const USER: &str = "demo-teacher";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let shutdown = lifecycle::shutdown_on_signals();
    let once = std::env::var("ONCE").is_ok_and(|once| !once.is_empty() && once != "0");
    // The page's port is taken first: the gateway accepts this one origin.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let origin = format!("http://{}", listener.local_addr()?);
    eprintln!("starting Redis, an embedded broker and both services ...");
    let started = tokio::select! {
        stack = start(&origin) => Some(stack?),
        () = shutdown.cancelled() => None,
    };
    let Some(stack) = started else { return Ok(ExitCode::FAILURE) };
    let passed = if once {
        tokio::select! {
            passed = once::run(&stack, &origin) => passed?,
            () = shutdown.cancelled() => false,
        }
    } else {
        println!("\n  open {origin}\n\n  Ctrl-C ends it");
        let _site = Site::start(listener, &stack, Plan::demo(USER)).await?;
        shutdown.cancelled().await;
        true
    };
    stack.shut_down_and_check_logs().await?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn start(origin: &str) -> anyhow::Result<Stack> {
    let origins = serde_json::to_string(&[origin])?;
    let layout = Layout { gateway_settings: vec![("CORS_ORIGINS", origins)], ..Layout::default() };
    Stack::start(Kafka::start_embedded().await?, &layout).await
}
