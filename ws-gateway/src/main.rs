//! Settings, logs, run, exit code.

use std::process::ExitCode;

use shared::{config, lifecycle, telemetry};
use ws_gateway::{config::Config, config::command, gateway::Gateway};

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = match config::read(command(), std::env::args_os()) {
        Ok((config, _)) => config,
        Err(error) => error.exit(),
    };
    telemetry::init(&config.telemetry);
    let shutdown = lifecycle::shutdown_on_signals();
    lifecycle::run(async move { Gateway::bind(config).await?.run(shutdown).await }).await
}
