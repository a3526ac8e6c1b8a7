//! `ingest-worker`: see the library for what it does, `--help` for its settings.

use std::process::ExitCode;

use ingest_worker::{cli, worker::Worker};
use shared::{lifecycle, telemetry};

// One thread: the work is one batch after another, and what runs beside it is little.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (config, task) = match cli::read() {
        Ok(asked) => asked,
        Err(error) => error.exit(),
    };
    telemetry::init(&config.fixed.telemetry);
    if let Some(task) = task {
        return lifecycle::exit_code(task.run(config)).await;
    }
    let shutdown = lifecycle::shutdown_on_signals();
    let work = async { Worker::connect(config).await?.run(shutdown).await };
    lifecycle::exit_code(Box::pin(work)).await
}
