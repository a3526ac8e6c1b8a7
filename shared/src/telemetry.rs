//! Structured logging to standard error, as JSON or as text.

mod escape;
mod log_bridge;
mod panic_hook;

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing::{Subscriber, info};
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    fmt::MakeWriter,
    prelude::*,
    reload,
};

use escape::EscapingMakeWriter;
use log_bridge::LogBridge;

use crate::audit;

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Human-readable text.
    Console,
}

/// The least important level that is logged. The names of Python's levels are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum LogLevel {
    /// Failures that need an operator.
    #[value(aliases = ["CRITICAL", "FATAL"])]
    Error,
    /// Also conditions that may become failures.
    #[value(alias = "WARNING")]
    Warn,
    /// Also rare events, such as start, shutdown and rebalances.
    Info,
    /// Also every event and connection.
    Debug,
    /// Also internals.
    Trace,
}

impl LogLevel {
    fn filter(self) -> Targets {
        let from = |level| {
            Targets::new().with_default(level).with_target(audit::TARGET, LevelFilter::INFO)
        };
        match self {
            Self::Error => from(LevelFilter::ERROR),
            Self::Warn => from(LevelFilter::WARN),
            // Of libraries only failures.
            Self::Info => from(LevelFilter::INFO).with_target("library", LevelFilter::WARN),
            Self::Debug => from(LevelFilter::DEBUG).with_target("hyper", LevelFilter::INFO),
            Self::Trace => from(LevelFilter::TRACE),
        }
    }
}

/// Logging settings.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetrySettings {
    /// Minimum level that is logged
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO", ignore_case = true)]
    pub log_level: LogLevel,
    /// Format of a log line
    #[arg(long, env = "LOG_FORMAT", default_value = "json", ignore_case = true)]
    pub log_format: LogFormat,
}

/// Changes the level of the installed logger. Clones change the same one.
#[derive(Clone, Debug)]
pub struct LogFilter(reload::Handle<Targets, Registry>);

impl LogFilter {
    /// Sets the minimum level that is logged; a restart sets that of the settings again.
    pub fn set(&self, level: LogLevel) {
        // It fails only if the logger is gone, which is as long as the process.
        drop(self.0.reload(level.filter()));
        info!(target: audit::TARGET, minimum = ?level, "log level changed by operator");
    }
}

/// Installs the logger, also for panics, for the whole process. A second call has no effect.
pub fn init(settings: &TelemetrySettings) -> LogFilter {
    let colours = std::io::stderr().is_terminal();
    let (subscriber, filter) = subscriber(settings, colours, std::io::stderr);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        LogBridge::install();
        panic_hook::install();
    }
    filter
}

/// Returns a subscriber that writes one line per event to `writer`, and what changes its level.
fn subscriber<W>(
    settings: &TelemetrySettings,
    coloured: bool,
    writer: W,
) -> (impl Subscriber + Send, LogFilter)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let writer = EscapingMakeWriter { inner: writer, coloured };
    let lines = fmt::layer().with_writer(writer).with_ansi(coloured);
    let lines = match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Console => lines.compact().boxed(),
    };
    let (filter, handle) = reload::Layer::new(settings.log_level.filter());
    (tracing_subscriber::registry().with(filter).with(lines), LogFilter(handle))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        env, io,
        process::Command,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// A writer whose clones share one buffer.
    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_level_is_changed_while_the_logger_is_in_use() {
        let lines = Lines::default();
        let settings = TelemetrySettings { log_level: LogLevel::Info, log_format: LogFormat::Json };
        let writer = {
            let lines = lines.clone();
            move || lines.clone()
        };
        let (subscriber, filter) = subscriber(&settings, false, writer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("before");
            filter.set(LogLevel::Debug);
            tracing::debug!("after");
            filter.set(LogLevel::Error);
            tracing::info!("too unimportant");
            tracing::info!(target: audit::TARGET, "an operator's act");
        });
        let text = lines.text();
        assert!(!text.contains("before") && text.contains("after"), "{text}");
        assert_eq!(text.matches("log level changed").count(), 2, "{text}");
        assert!(!text.contains("unimportant") && text.contains("an operator's act"), "{text}");
    }

    #[test]
    fn the_names_of_pythons_levels_are_accepted() {
        for (name, level) in [
            ("CRITICAL", LogLevel::Error),
            ("error", LogLevel::Error),
            ("WARNING", LogLevel::Warn),
            ("warning", LogLevel::Warn),
            ("INFO", LogLevel::Info),
            ("DEBUG", LogLevel::Debug),
        ] {
            assert_eq!(LogLevel::from_str(name, true), Ok(level), "{name}");
        }
    }

    /// The test runs itself in a process of its own, since a process has one logger.
    #[test]
    fn a_service_logs_the_messages_of_libraries_as_its_own() {
        const IS_SERVICE: &str = "TEST_IS_SERVICE";
        if env::var_os(IS_SERVICE).is_some() {
            let settings =
                TelemetrySettings { log_level: LogLevel::Info, log_format: LogFormat::Json };
            init(&settings);
            for brokers in 1..=3 {
                log::error!(target: "rdkafka::client", "{brokers} brokers are down");
            }
            return;
        }
        let name = "telemetry::tests::a_service_logs_the_messages_of_libraries_as_its_own";
        let run = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(IS_SERVICE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8(run.stderr).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect(&text);
        assert_eq!((&line["level"], &line["library"]), (&"WARN".into(), &"rdkafka::client".into()));
    }
}
