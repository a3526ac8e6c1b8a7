//! Reading settings: each is a documented clap argument with an environment variable. All problems
//! are reported in one error, and secrets are never printed. Opens no files.

mod table;

use std::{fmt, time::Duration};

use clap::{Arg, ArgMatches, Command, FromArgMatches, error::ContextKind, error::ContextValue};
use clap::{builder::Resettable, parser::ValueSource};

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
    /// Not an error: `--help` or `--version` was given.
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
    /// Prints the help text or the problems and ends the process: exit code 0 after help, 2 after
    /// problems.
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
    let arguments: Vec<std::ffi::OsString> = arguments.into_iter().map(Into::into).collect();
    let mut command = command.mut_args(ignore_empty_variable);
    let mut problems = Vec::new();
    // clap stops at the first invalid value: record it, ignore its variable, and parse again.
    let matches = loop {
        match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) => break matches,
            Err(error) if !error.use_stderr() => return Err(ConfigError::HelpOrVersion(error)),
            Err(error) => {
                let Some(id) = invalid_variable(&command, &error) else {
                    problems.push(first_line(&error));
                    return Err(ConfigError::Invalid(problems));
                };
                problems.push(problem(&command, &id, &error));
                command = command.mut_arg(id, |arg| arg.env(Resettable::Reset));
            }
        }
    };
    problems.extend(secrets_on_the_command_line(&command, &matches));
    let settings = S::from_arg_matches(&matches)
        .map_err(|error| ConfigError::Invalid(vec![first_line(&error)]))?;
    problems.extend(settings.problems());
    if problems.is_empty() { Ok((settings, matches)) } else { Err(ConfigError::Invalid(problems)) }
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

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

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
    number
        .checked_mul(per_unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| "the duration is too long".into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct AlwaysInvalid;

    impl FromArgMatches for AlwaysInvalid {
        fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
            Ok(Self)
        }
        fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
            Ok(())
        }
    }

    impl Validate for AlwaysInvalid {
        fn problems(&self) -> Vec<String> {
            vec!["a contradicts b".into()]
        }
    }

    #[test]
    fn durations_have_a_unit_and_default_to_seconds() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        assert_eq!(duration("30d"), Ok(Duration::from_hours(720)));
        for bad in ["", "s", "-1", "1.5", "1w", "99999999999999999999", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(positive_duration("0").is_err());
    }

    #[test]
    fn one_error_lists_every_problem_and_no_secret() {
        // Cargo sets `CARGO_PKG_NAME` and `CARGO_MANIFEST_DIR` for every test run.
        let port = Arg::new("port").long("port").env("CARGO_PKG_NAME").default_value("1");
        let key = Arg::new("key").long("key").env("CARGO_MANIFEST_DIR").hide_env_values(true);
        let command = Command::new("test")
            .arg(port.value_parser(clap::value_parser!(u16)))
            .arg(key.value_parser(|_: &str| Err::<Secret, _>("too short".to_owned())));
        let Err(ConfigError::Invalid(problems)) = read::<AlwaysInvalid, _, _>(command, ["test"])
        else {
            panic!("the settings are invalid");
        };
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("CARGO_PKG_NAME = \"shared\": "), "{problems:?}");
        assert_eq!(problems[1], "CARGO_MANIFEST_DIR: too short");
        assert_eq!(problems[2], "a contradicts b");
    }

    #[test]
    fn a_secret_is_refused_as_an_argument_and_never_printed() {
        let key = Arg::new("key").long("key").env("NO_SUCH_VARIABLE").hide_env_values(true);
        let Err(ConfigError::Invalid(problems)) = read::<AlwaysInvalid, _, _>(
            Command::new("test").arg(key),
            ["test", "--key", "hunter2"],
        ) else {
            panic!("the settings are invalid");
        };
        assert!(problems[0].contains("never from arguments"));
        assert!(!problems.join("").contains("hunter2"));
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "***");
    }
}
