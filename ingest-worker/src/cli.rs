//! What the process is asked to do: its work, or a task of an operator.

use clap::{FromArgMatches as _, Subcommand};
use shared::{
    config::{self, ConfigError},
    healthcheck,
};

use crate::{
    config::{Config, Fixed},
    infrastructure::kafka::dead_letters::cli::Tool,
};

/// A task of an operator, done instead of the work.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Look at records that were given up, or send them again
    #[command(subcommand)]
    DeadLetters(Tool),
    /// Ask the worker that runs here with these settings whether it is ready: exit code 0 or 1
    Healthcheck,
}

/// Reads the settings of this process and the task, if there is one.
///
/// # Errors
/// [`ConfigError`] lists everything that is wrong.
pub fn read() -> Result<(Config, Option<Task>), ConfigError> {
    let command = Task::augment_subcommands(crate::config::command());
    let (config, matches) = config::read(command.subcommand_required(false), std::env::args_os())?;
    Ok((config, Task::from_arg_matches(&matches).ok()))
}

impl Task {
    /// Does it, and says on standard output what is to be said.
    ///
    /// # Errors
    /// When Kafka does not answer, or when the worker is not ready.
    pub async fn run(self, config: Config) -> anyhow::Result<()> {
        match self {
            Self::DeadLetters(tool) => {
                tokio::task::spawn_blocking(move || tool.run(&config)).await?
            }
            Self::Healthcheck => {
                let Fixed { bind_address, admin_port, .. } = config.fixed;
                healthcheck::run(bind_address, admin_port).await
            }
        }
    }
}
