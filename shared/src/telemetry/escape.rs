//! Log injection: one event is one line, whatever a field contains. Control characters, line ends
//! and characters that change the text direction are written as `\uXXXX`, as JSON escapes them.

use std::{fmt::Write as _, io};

use tracing_subscriber::fmt::MakeWriter;

/// Wraps the writers of `inner` in an [`EscapingWriter`].
#[derive(Clone, Copy, Debug)]
pub(super) struct EscapingMakeWriter<M> {
    pub(super) inner: M,
    /// Whether the formatter's own colour sequences pass.
    pub(super) coloured: bool,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for EscapingMakeWriter<M> {
    type Writer = EscapingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter { inner: self.inner.make_writer(), coloured: self.coloured }
    }
}

#[derive(Debug)]
pub(super) struct EscapingWriter<W> {
    inner: W,
    coloured: bool,
}

impl<W: io::Write> io::Write for EscapingWriter<W> {
    /// The formatter writes each event in one call that ends with a newline.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.inner.write_all(escape_line(event, self.coloured).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn escape_line(event: &[u8], coloured: bool) -> String {
    let text = String::from_utf8_lossy(event);
    let (text, end) = text.strip_suffix('\n').map_or((&*text, ""), |text| (text, "\n"));
    let mut line = String::with_capacity(text.len() + 1);
    for (at, character) in text.char_indices() {
        if is_plain(character) || (coloured && COLOURS.iter().any(|c| text[at..].starts_with(c))) {
            line.push(character);
        } else {
            write!(line, "\\u{:04x}", u32::from(character))
                .expect("writing to a string cannot fail");
        }
    }
    line + end
}

/// The colour and style sequences of the formatter; none of them moves the cursor or hides text.
const COLOURS: [&str; 9] = [
    "\u{1b}[0m",
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[3m",
    "\u{1b}[31m",
    "\u{1b}[32m",
    "\u{1b}[33m",
    "\u{1b}[34m",
    "\u{1b}[35m",
];

/// Returns whether a character is written unescaped: no control character, no line end, no change
/// of text direction.
fn is_plain(character: char) -> bool {
    let changes_direction = matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !character.is_control() && !changes_direction
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use clap::ValueEnum as _;
    use tracing::{info, subscriber::with_default};

    use super::*;
    use crate::telemetry::{LogFormat, LogLevel, TelemetrySettings, subscriber, tests::Lines};

    const HOSTILE: &str = "a\r\nWARN forged\u{1b}[2J\u{7f}\u{9b}31m\u{2028}\u{202e}\0\tÅ😀\"\\";

    /// Returns the output for an event that contains `HOSTILE` as message, field, debug and error.
    fn logged(log_format: LogFormat, coloured: bool) -> String {
        let lines = Lines::default();
        let settings = TelemetrySettings { log_level: LogLevel::Info, log_format };
        let writer = lines.clone();
        let (subscriber, _) = subscriber(&settings, coloured, move || writer.clone());
        with_default(subscriber, || {
            let error = io::Error::other(HOSTILE);
            info!(text = HOSTILE, shown = %HOSTILE, debug = ?HOSTILE, %error, "logged {HOSTILE}");
        });
        lines.text()
    }

    #[test]
    fn no_field_can_end_a_line_or_control_a_terminal_in_any_format() {
        for format in LogFormat::value_variants() {
            let text = logged(*format, false);
            let line = text.strip_suffix('\n').unwrap();
            assert!(line.chars().all(is_plain), "{format:?}: {line:?}");
            assert!(line.contains("forged") && line.contains("Å😀"), "{format:?}: {line}");
        }
    }

    #[test]
    fn a_json_line_decodes_to_the_original_text() {
        let line: serde_json::Value =
            serde_json::from_str(&logged(LogFormat::Json, false)).unwrap();
        assert_eq!((&line["text"], &line["shown"]), (&HOSTILE.into(), &HOSTILE.into()));
        assert_eq!(line["message"], format!("logged {HOSTILE}"));
    }

    #[test]
    fn only_the_formatters_own_colours_pass() {
        let line = logged(LogFormat::Console, true);
        assert!(line.contains('\u{1b}') && !line.contains("\u{1b}[2J"), "{line:?}");
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn one_write_is_one_line() {
        let mut written = Vec::new();
        let mut writer = EscapingWriter { inner: &mut written, coloured: false };
        writer.write_all(b"a\nb\xff\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), "a\\u000ab\u{fffd}\n");
    }
}
