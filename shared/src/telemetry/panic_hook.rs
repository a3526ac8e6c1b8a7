//! Logs panics as other failures, without their message: it may quote a record or a token.

use std::panic::{self, PanicHookInfo};

use tracing::error;

/// Replaces the hook of the standard library, which prints message and location as text.
pub(super) fn install() {
    panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    error!(panic.location = location, "a thread panicked");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{LogFormat, LogLevel, TelemetrySettings, subscriber, tests::Lines};

    #[test]
    fn a_panic_is_logged_with_its_location_and_without_its_message() {
        let lines = Lines::default();
        let settings = TelemetrySettings { log_level: LogLevel::Info, log_format: LogFormat::Json };
        let writer = lines.clone();
        let (subscriber, _) = subscriber(&settings, false, move || writer.clone());
        let previous = panic::take_hook();
        install();
        let caught = tracing::subscriber::with_default(subscriber, || {
            panic::catch_unwind(|| panic!("quotes a secret"))
        });
        panic::set_hook(previous);
        assert!(caught.is_err());
        let text = lines.text();
        assert!(text.contains("a thread panicked") && text.contains("panic_hook.rs"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
