//! Logs, on standard error: JSON for machines, or text for people.

mod one_line;

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, fmt, fmt::MakeWriter, prelude::*};

use one_line::OneLine;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for a terminal.
    Console,
}

/// The least important level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum LogLevel {
    /// Failures that need a person.
    Error,
    /// And what may become one.
    Warn,
    /// And what happens once in a while.
    Info,
    /// And every event and connection.
    Debug,
    /// And every detail.
    Trace,
}

impl LogLevel {
    fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            // Libraries report what the services themselves report better.
            Self::Info => "info,librdkafka=warn,rdkafka=error",
            Self::Debug => "debug,hyper=info,rdkafka=info,tungstenite=info,tokio_tungstenite=info",
            // They would log what clients send, and with it their tokens.
            Self::Trace => "trace,tungstenite=info,tokio_tungstenite=info",
        }
    }
}

/// The logging of a service.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetrySettings {
    /// Least important level that is logged
    #[arg(long, env = "LOG_LEVEL", default_value = "INFO", ignore_case = true)]
    pub log_level: LogLevel,
    /// Form of a log line
    #[arg(long, env = "LOG_FORMAT", default_value = "json", ignore_case = true)]
    pub log_format: LogFormat,
}

/// Starts logging for the whole process. A second call changes nothing.
pub fn init(settings: &TelemetrySettings) {
    let colours = std::io::stderr().is_terminal();
    if subscriber(settings, colours, std::io::stderr).try_init().is_err() {
        tracing::debug!("logging was already started");
    }
}

/// Turns events into lines for `writer`.
fn subscriber<W>(settings: &TelemetrySettings, coloured: bool, writer: W) -> impl Subscriber + Send
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let writer = OneLine { inner: writer, coloured };
    let lines = fmt::layer().with_writer(writer).with_ansi(coloured);
    let lines = match settings.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Console => lines.compact().boxed(),
    };
    let filter = EnvFilter::new(settings.log_level.directive());
    tracing_subscriber::registry().with(filter).with(lines)
}
