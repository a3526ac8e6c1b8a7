//! The command line: runs the worker, or one of the commands for operators.

mod blocking;
mod check;
mod explain;
mod report;
mod send;

use anyhow::Context as _;
use clap::{FromArgMatches as _, Subcommand};
use prometheus::Registry;
use shared::{
    config::{self, ConfigError},
    healthcheck,
    redis::RedisClient,
};

use crate::{
    config::{ABOUT, Config, Settings, command},
    infrastructure::kafka::{
        dead_letters::cli::DeadLettersCommand, property_check, skip::OffsetsCommand,
    },
    metrics::Metrics,
    worker::pipeline,
};

use blocking::run_blocking;
use check::Check;
use explain::{Explain, Parked};
use send::Send;

/// A command for operators; without one the worker runs.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// List or replay the records of the dead-letter topic
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Say what became of an event
    Explain(Explain),
    /// List the records that are not finished, and what each waits for
    Parked(Parked),
    /// Send a test notification to a user, as the worker publishes it
    Send(Send),
    /// Skip records that cannot be read
    #[command(subcommand)]
    Offsets(OffsetsCommand),
    /// Check settings, Kafka, Redis and permissions; print each finding with its cure
    Check(Check),
    /// Exit with 0 if the worker of this host is ready, with 1 if it is not
    Healthcheck,
}

/// Reads the configuration, and the operator's command if there is one.
///
/// # Errors
/// [`ConfigError`] lists every invalid setting.
pub fn read() -> Result<(Config, Option<OperatorCommand>), ConfigError> {
    let command = OperatorCommand::augment_subcommands(command())
        .about(ABOUT)
        .long_about(None)
        .subcommand_required(false);
    let (config, matches) =
        config::read_with(command, std::env::args_os(), property_check::property_problems)?;
    let command = OperatorCommand::from_arg_matches(&matches).ok();
    let problems = match command {
        Some(OperatorCommand::Check(_)) | None => property_check::client_problems(&config),
        Some(_) => Vec::new(),
    };
    if problems.is_empty() { Ok((config, command)) } else { Err(ConfigError::Invalid(problems)) }
}

impl OperatorCommand {
    /// Runs the command; prints its result on standard output.
    ///
    /// # Errors
    /// When Kafka or Redis is unavailable, or the worker is not ready.
    pub async fn run(self, config: Config) -> anyhow::Result<()> {
        match self {
            Self::DeadLetters(command) => {
                run_blocking(move |interrupt| command.run(&config, interrupt)).await
            }
            Self::Explain(explain) => explain.run(config).await,
            Self::Parked(parked) => parked.run(config).await,
            Self::Send(send) => send.run(&config).await,
            Self::Offsets(command) => {
                let redis = RedisClient::new(&config.settings.redis).context("REDIS_URL")?;
                let store = pipeline::store(&config, redis, Metrics::new(&Registry::new()));
                run_blocking(move |interrupt| command.run(&config, &store, interrupt)).await
            }
            Self::Check(check) => check.run(config).await,
            Self::Healthcheck => {
                let Settings { bind_address, admin_port, .. } = config.settings;
                healthcheck::run(bind_address, admin_port).await
            }
        }
    }
}
