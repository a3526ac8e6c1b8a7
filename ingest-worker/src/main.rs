//! `ingest-worker`: reads the settings, then runs the worker or an operator's command.

use ingest_worker::{cli, worker::Worker};
use shared::{lifecycle, telemetry};

// Batches are processed one after another, so a second thread would only add wake-ups.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (config, command) = match cli::read() {
        Ok(read) => read,
        Err(error) => error.exit(),
    };
    let log_filter = telemetry::init(&config.settings.telemetry);
    if let Some(command) = command {
        lifecycle::run(command.run(config)).await;
    }
    let shutdown = lifecycle::shutdown_on_signals();
    let worker =
        async { Worker::connect(config).await?.with_log_filter(log_filter).run(shutdown).await };
    lifecycle::run(Box::pin(worker)).await;
}
