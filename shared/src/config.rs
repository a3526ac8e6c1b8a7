//! Settings. Each is a documented clap argument with the environment variable that sets it; this
//! module reads them so that one message lists every problem, and prints them without secrets.

mod table;

use std::{fmt, time::Duration};

use clap::{Arg, ArgMatches, Command, FromArgMatches, error::ContextKind, error::ContextValue};
use clap::{builder::Resettable, parser::ValueSource};

pub use table::{extract_table, markdown_table};

/// A text that cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that uses it.
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

/// Settings that are valid one by one may still be wrong together.
pub trait Validate: FromArgMatches {
    /// Every problem of the settings as a whole, each naming the settings at fault.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Why there are no settings.
#[derive(Debug)]
pub enum ConfigError {
    /// Not an error: help or the version was asked for.
    HelpOrVersion(clap::Error),
    /// Every problem found, one a line.
    Invalid(Vec<String>),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HelpOrVersion(answer) => answer.fmt(f),
            Self::Invalid(problems) => {
                writeln!(f, "invalid settings:")?;
                problems.iter().try_for_each(|problem| writeln!(f, "  - {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// Prints the answer or the problems and ends the process: 0 after help, 2 after problems.
    pub fn exit(&self) -> ! {
        match self {
            Self::HelpOrVersion(answer) => answer.exit(),
            Self::Invalid(_) => {
                eprint!("{self}");
                std::process::exit(2)
            }
        }
    }
}

/// Reads the settings of `command` from the arguments and the environment. A variable that is
/// set but empty counts as not set.
///
/// # Errors
/// [`ConfigError::Invalid`] lists every setting that is missing or wrong.
pub fn read<S, I, T>(command: Command, arguments: I) -> Result<(S, ArgMatches), ConfigError>
where
    S: Validate,
    I: IntoIterator<Item = T>,
    T: Into<std::ffi::OsString>,
{
    let arguments: Vec<std::ffi::OsString> = arguments.into_iter().map(Into::into).collect();
    let mut command = command.mut_args(unset_if_empty);
    let mut problems = Vec::new();
    // clap stops at the first bad value: note it, put the default in its place, and go on.
    let matches = loop {
        match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) => break matches,
            Err(error) if !error.use_stderr() => return Err(ConfigError::HelpOrVersion(error)),
            Err(error) => {
                let Some(id) = culprit(&command, &error) else {
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

fn unset_if_empty(arg: Arg) -> Arg {
    let empty = arg
        .get_env()
        .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
    if empty { arg.env(Resettable::Reset) } else { arg }
}

/// The setting that a bad value came to through the environment.
fn culprit(command: &Command, error: &clap::Error) -> Option<clap::Id> {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    // Shown as `--name <VALUE>`.
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
            format!("{}: a secret is read from its variable only, never an argument", arg.get_id())
        })
        .collect()
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Reads a duration: a number of seconds, or a number with one of the units ms, s, m, h, d.
///
/// # Errors
/// A sentence that says what is accepted.
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

/// Reads a duration that must not be zero.
///
/// # Errors
/// A sentence that says what is accepted.
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
    struct Two;

    impl FromArgMatches for Two {
        fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
            Ok(Self)
        }
        fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
            Ok(())
        }
    }

    impl Validate for Two {
        fn problems(&self) -> Vec<String> {
            vec!["they do not fit".into()]
        }
    }

    #[test]
    fn durations_have_units_and_seconds_are_the_default() {
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
        // `CARGO_PKG_NAME` and `CARGO_MANIFEST_DIR` are variables that every test run has.
        let port = Arg::new("port").long("port").env("CARGO_PKG_NAME").default_value("1");
        let key = Arg::new("key").long("key").env("CARGO_MANIFEST_DIR").hide_env_values(true);
        let command = Command::new("test")
            .arg(port.value_parser(clap::value_parser!(u16)))
            .arg(key.value_parser(|_: &str| Err::<Secret, _>("too short".to_owned())));
        let Err(ConfigError::Invalid(problems)) = read::<Two, _, _>(command, ["test"]) else {
            panic!("the settings are invalid");
        };
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("CARGO_PKG_NAME = \"shared\": "), "{problems:?}");
        assert_eq!(problems[1], "CARGO_MANIFEST_DIR: too short");
        assert_eq!(problems[2], "they do not fit");
    }

    #[test]
    fn a_secret_is_refused_as_an_argument_and_never_printed() {
        let key = Arg::new("key").long("key").env("NO_SUCH_VARIABLE").hide_env_values(true);
        let Err(ConfigError::Invalid(problems)) =
            read::<Two, _, _>(Command::new("test").arg(key), ["test", "--key", "hunter2"])
        else {
            panic!("the settings are invalid");
        };
        assert!(problems[0].contains("never an argument"));
        assert!(!problems.join("").contains("hunter2"));
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "***");
    }
}
