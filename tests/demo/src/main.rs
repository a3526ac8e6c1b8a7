//! The whole system on one machine: Redis, an embedded broker, both services, and a page that shows
//! notifications as they arrive. `ONCE=1` instead sends each event once and checks what arrives.

use std::{net::Ipv4Addr, process::ExitCode};

use demo::{Site, SiteContent};
use harness::{
    kafka::Kafka,
    stack::{Layout, Stack},
};
use shared::lifecycle;
use tokio::net::TcpListener;

mod once;

/// The user of the demo.
const USER: &str = "demo-teacher";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let shutdown = lifecycle::shutdown_on_signals();
    let once = std::env::var("ONCE").is_ok_and(|once| !once.is_empty() && once != "0");
    // Bound first, as the gateway's `CORS_ORIGINS` needs the port.
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
        println!("\n  open {origin}\n\n  Ctrl-C stops it");
        let _site = Site::start(listener, &stack, SiteContent::demo(USER)).await?;
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
