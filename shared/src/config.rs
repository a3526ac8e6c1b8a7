//! Reading settings: each is a documented clap argument with an environment variable. All problems
//! are reported in one error, and secrets are never printed. Opens no files.

mod table;

use std::{fmt, num::NonZeroUsize, time::Duration};

use clap::{
    Arg, ArgMatches, Command, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

pub use table::{extract_table, markdown_table};

/// A string whose `Debug` output is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret, for the code that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Checks across settings that are valid one by one.
pub trait Validate: FromArgMatches {
    /// Returns every problem of the combination, each naming the settings involved.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Why reading the settings returned none.
#[derive(Debug)]
pub enum ConfigError {
    /// The text to print instead: of `--help` or `--version`, or of a command that lacks a subcommand.
    HelpOrVersion(clap::Error),
    /// Every problem found.
    Invalid(Vec<String>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HelpOrVersion(text) => text.fmt(f),
            Self::Invalid(problems) => {
                writeln!(f, "invalid settings:")?;
                problems.iter().try_for_each(|problem| writeln!(f, "  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// Prints the help text or the problems and ends the process: exit code 0 after help that was
    /// asked for, else 2.
    pub fn exit(&self) -> ! {
        match self {
            Self::HelpOrVersion(text) => text.exit(),
            Self::Invalid(_) => {
                eprint!("{self}");
                std::process::exit(2)
            }
        }
    }
}

/// Reads the settings of `command` from arguments and environment variables. An empty variable
/// counts as unset.
///
/// # Errors
/// [`ConfigError::Invalid`] with every setting that is missing or invalid.
pub fn read<S, I, T>(command: Command, arguments: I) -> Result<(S, ArgMatches), ConfigError>
where
    S: Validate,
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString>,
{
    read_with(command, arguments, |_| Vec::new())
}

/// Does what [`read`] does, and adds the problems that `check` finds.
///
/// # Errors
/// As [`read`].
pub fn read_with<S, I, T>(
    command: Command,
    arguments: I,
    check: impl FnOnce(&S) -> Vec<String>,
) -> Result<(S, ArgMatches), ConfigError>
where
    S: Validate,
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString>,
{
    let arguments: Vec<std::ffi::OsString> = arguments.into_iter().map(Into::into).collect();
    let mut command = command.mut_args(ignore_empty_variable);
    let mut problems = Vec::new();
    // clap stops at the first invalid value: record it, ignore its variable, and parse again.
    let matches = loop {
        match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) => break matches,
            Err(error) if is_help(&error) => return Err(ConfigError::HelpOrVersion(error)),
            Err(error) => {
                let Some(id) = invalid_variable(&command, &error) else {
                    problems.push(message(&error));
                    return Err(ConfigError::Invalid(problems));
                };
                problems.push(problem(&command, &id, &error));
                command = command.mut_arg(id, |arg| arg.env(Resettable::Reset));
            }
        }
    };
    problems.extend(secrets_on_the_command_line(&command, &matches));
    let settings = S::from_arg_matches(&matches)
        .map_err(|error| ConfigError::Invalid(vec![message(&error)]))?;
    problems.extend(settings.problems());
    problems.extend(check(&settings));
    if problems.is_empty() { Ok((settings, matches)) } else { Err(ConfigError::Invalid(problems)) }
}

fn is_help(error: &clap::Error) -> bool {
    !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

fn ignore_empty_variable(arg: Arg) -> Arg {
    let empty = arg
        .get_env()
        .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
    if empty { arg.env(Resettable::Reset) } else { arg }
}

/// Returns the argument whose environment variable holds the invalid value.
fn invalid_variable(command: &Command, error: &clap::Error) -> Option<clap::Id> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    // clap reports it as `--name <VALUE>`.
    let name = shown.split_whitespace().next()?.strip_prefix("--")?;
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name))?;
    let name = arg.get_env()?;
    std::env::var_os(name).is_some_and(|value| !value.is_empty()).then(|| arg.get_id().clone())
}

fn problem(command: &Command, id: &clap::Id, error: &clap::Error) -> String {
    let arg = command.get_arguments().find(|arg| arg.get_id() == id);
    let name = arg
        .and_then(|arg| arg.get_env())
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if !arg.is_some_and(Arg::is_hide_env_values_set) => {
            format!(" = {value:?}")
        }
        _ => String::new(),
    };
    let allowed = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(allowed)) => format!("one of {}", allowed.join(", ")),
        _ => std::error::Error::source(error)
            .map_or_else(|| "invalid value".into(), ToString::to_string),
    };
    format!("{name}{value}: {allowed}")
}

fn secrets_on_the_command_line(command: &Command, matches: &ArgMatches) -> Vec<String> {
    command
        .get_arguments()
        .filter(|arg| arg.is_hide_env_values_set())
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .map(|arg| {
            format!(
                "{}: secrets are read from environment variables only, never from arguments",
                arg.get_id()
            )
        })
        .collect()
}

/// Returns what is wrong, without the usage.
fn message(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

/// Longest duration of a setting. Redis refuses lifetimes that end after the year 292,278,994.
const MAX_DURATION: Duration = Duration::from_hours(24 * 36_500);

/// Parses a duration: a whole number with the unit ms, s, m, h or d; seconds without a unit.
///
/// # Errors
/// States the accepted format.
///
/// ```
/// use std::time::Duration;
///
/// use shared::config::duration;
///
/// assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
/// assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
/// assert_eq!(duration("24h"), Ok(Duration::from_hours(24)));
/// assert!(duration("1.5s").is_err());
/// ```
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let per_unit_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(DURATION_FORMAT.into()),
    };
    let number: u64 = number.parse().map_err(|_| DURATION_FORMAT.to_owned())?;
    let duration = number.checked_mul(per_unit_ms).map(Duration::from_millis);
    let duration = duration.filter(|duration| *duration <= MAX_DURATION);
    duration.ok_or_else(|| "a duration is at most 36500d".into())
}

const DURATION_FORMAT: &str = "a duration is a number of seconds, or 500ms, 30s, 5m, 24h, 30d";

/// Parses a duration that must not be zero.
///
/// # Errors
/// States the accepted format.
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("the duration must be longer than zero".into()),
        duration => Ok(duration),
    }
}

/// Returns a parser of numbers from 1 to `max`.
pub fn number_up_to(
    max: usize,
) -> impl Fn(&str) -> Result<NonZeroUsize, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= max);
        number.ok_or_else(|| format!("a number from 1 to {max}"))
    }
}

#[cfg(test)]
mod tests;
