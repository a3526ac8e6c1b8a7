//! What the process is asked to do: its work, or a task of an operator.

use clap::{FromArgMatches as _, Subcommand};
use shared::config::{self, ConfigError};

use crate::{config::Config, infrastructure::dead_letters::tool::Tool};

/// A task of an operator, done instead of the work.
#[derive(Clone, Debug, Subcommand)]
pub enum Task {
    /// Look at records that were given up, or send them again
    #[command(subcommand)]
    DeadLetters(Tool),
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
