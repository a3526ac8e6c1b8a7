//! Bridge from the `log` facade, which libraries use, to `tracing`. A library that retries logs a
//! message once per outage, without source paths of the build machine.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use tracing::{info, warn};

/// A message is dropped if it repeats within this time of its last occurrence: longer than any
/// retry interval of a library.
const OUTAGE_GAP: Duration = Duration::from_mins(1);
/// Limit of the messages that are kept; at the limit all are dropped.
const MAX_REMEMBERED: usize = 64;

/// Passes on messages of libraries, at most as warnings: whether a failure needs an operator is for
/// the services to report.
#[derive(Default)]
pub(super) struct LogBridge {
    last_seen: Mutex<HashMap<u64, Instant>>,
}

impl LogBridge {
    /// Installs the bridge for the whole process. More detail than `info` is never logged:
    /// tungstenite would log what clients send, and with it their tokens.
    pub(super) fn install() {
        if log::set_boxed_logger(Box::new(Self::default())).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
    }

    /// Returns whether a message is not a repetition. Digits do not distinguish messages.
    fn is_new(&self, target: &str, message: &str, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        for byte in message.bytes().filter(|byte| !byte.is_ascii_digit()) {
            byte.hash(&mut hasher);
        }
        let mut last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if last_seen.len() >= MAX_REMEMBERED {
            last_seen.clear();
        }
        let last = last_seen.insert(hasher.finish(), now);
        last.is_none_or(|last| now.duration_since(last) > OUTAGE_GAP)
    }
}

impl Log for LogBridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        let (library, message) = (record.target(), record.args().to_string());
        if !self.enabled(record.metadata()) || !self.is_new(library, &message, Instant::now()) {
            return;
        }
        match record.level() {
            Level::Error | Level::Warn => warn!(target: "library", library, "{message}"),
            _ => info!(target: "library", library, "{message}"),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{LogFormat, LogLevel, TelemetrySettings, subscriber, tests::Lines};

    fn log(bridge: &LogBridge, level: Level, message: &str) {
        let mut record = Record::builder();
        record.level(level).target("rdkafka::client").file(Some("/build/client.rs")).line(Some(7));
        bridge.log(&record.args(format_args!("{message}")).build());
    }

    #[test]
    fn a_library_logs_an_outage_once_as_a_warning_without_source_paths() {
        let lines = Lines::default();
        let settings = TelemetrySettings { log_level: LogLevel::Info, log_format: LogFormat::Json };
        let (writer, bridge) = (lines.clone(), LogBridge::default());
        tracing::subscriber::with_default(
            subscriber(&settings, false, move || writer.clone()).0,
            || {
                for brokers in 1..=185 {
                    log(
                        &bridge,
                        Level::Error,
                        &format!("AllBrokersDown: {brokers} brokers are down"),
                    );
                }
                log(&bridge, Level::Debug, "token=secret");
            },
        );
        let text = lines.text();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["library"]), (&"WARN".into(), &"rdkafka::client".into()));
        assert_eq!(line["message"], "AllBrokersDown: 1 brokers are down");
        assert!(!text.contains("/build/") && !text.contains("log."), "{text}");
    }

    #[test]
    fn a_message_is_new_again_after_the_outage_gap() {
        let (bridge, start) = (LogBridge::default(), Instant::now());
        let is_new = |seconds| bridge.is_new("a", "down", start + Duration::from_secs(seconds));
        assert_eq!([0, 50, 100, 161].map(is_new), [true, false, false, true]);
        assert!(bridge.is_new("b", "down", start), "another library");
    }
}
