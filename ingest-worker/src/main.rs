//! `ingest-worker`: see the library for what it does, `--help` for its settings.

use std::process::ExitCode;

use ingest_worker::{
    cli::{self, Task},
    worker::Worker,
};
use shared::{lifecycle, telemetry};

// One thread: the work is one batch after another, and what runs beside it is little.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (config, task) = match cli::read() {
        Ok(asked) => asked,
        Err(error) => error.exit(),
    };
    telemetry::init(&config.fixed.telemetry);
    let Some(Task::DeadLetters(tool)) = task else {
        let shutdown = lifecycle::shutdown_on_signals();
        let work = async { Worker::connect(config).await?.run(shutdown).await };
        return lifecycle::run(Box::pin(work)).await;
    };
    lifecycle::run(async { tokio::task::spawn_blocking(move || tool.run(&config)).await? }).await
}
