//! `ingest-worker`: see the library for what it does, `--help` for its settings.

use std::process::ExitCode;

use ingest_worker::{config::Config, worker::Worker};
use shared::{lifecycle, telemetry};

// One thread: the work is one batch after another, and what runs beside it is little.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = match Config::from_env() {
        Ok((config, _)) => config,
        Err(error) => error.exit(),
    };
    telemetry::init(&config.fixed.telemetry);
    let shutdown = lifecycle::shutdown_on_signals();
    lifecycle::run(async { Worker::connect(config).await?.run(shutdown).await }).await
}
