//! Settings, logs, run, exit code.

use std::process::ExitCode;

use shared::{lifecycle, telemetry};
use ws_gateway::{cli, gateway::Gateway};

#[tokio::main]
async fn main() -> ExitCode {
    let (config, task) = match cli::read() {
        Ok(asked) => asked,
        Err(error) => error.exit(),
    };
    telemetry::init(&config.telemetry);
    if let Some(task) = task {
        return lifecycle::exit_code(task.run(&config)).await;
    }
    let shutdown = lifecycle::shutdown_on_signals();
    let work = async { Gateway::bind(config).await?.run(shutdown).await };
    lifecycle::exit_code(Box::pin(work)).await
}
