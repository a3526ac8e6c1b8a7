//! The settings as a Markdown table, so that a test can hold the README to the code.

use clap::Command;

/// The settings of `command` as rows of a Markdown table: variable, default, meaning.
#[must_use]
pub fn markdown_table(command: &Command) -> String {
    let mut table = String::from("| setting | default | meaning |\n|---|---|---|\n");
    for arg in command.get_arguments() {
        let Some(name) = arg.get_env() else { continue };
        let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy());
        let default = defaults.collect::<Vec<_>>().join(",");
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
        table.extend([
            "| `",
            &name.to_string_lossy(),
            "` | ",
            &default,
            " | ",
            &help,
            " |
",
        ]);
    }
    table
}

/// The part of a Markdown text between the marker of a section and the next blank line after its
/// table.
#[must_use]
pub fn extract_table<'a>(markdown: &'a str, section: &str) -> &'a str {
    let marker = format!("<!-- settings:{section} -->\n");
    let table = markdown.split_once(&marker).map_or("", |(_, rest)| rest);
    table.split_once("\n\n").map_or(table, |(table, _)| table)
}
