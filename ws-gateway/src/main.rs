//! Reads the settings, starts the logs, and runs the gateway or the command that the arguments
//! name.

use shared::{lifecycle, telemetry};
use ws_gateway::{cli, gateway::Gateway};

#[tokio::main]
async fn main() {
    let (config, command) = match cli::read() {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    let log_filter = telemetry::init(&config.telemetry);
    if let Some(command) = command {
        lifecycle::run(command.run(&config)).await;
    }
    let shutdown = lifecycle::shutdown_on_signals();
    let gateway =
        async { Gateway::bind(config).await?.with_log_filter(log_filter).run(shutdown).await };
    lifecycle::run(Box::pin(gateway)).await;
}
