//! The settings as a Markdown table: a test compares each README with the code.

use clap::Command;

/// Returns the settings of `command` as a Markdown table: variable, default, meaning.
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

/// Returns the table of a Markdown document that follows the marker of `section`.
#[must_use]
pub fn extract_table<'a>(markdown: &'a str, section: &str) -> &'a str {
    let marker = format!("<!-- settings:{section} -->\n");
    let table = markdown.split_once(&marker).map_or("", |(_, rest)| rest);
    table.split_once("\n\n").map_or(table, |(table, _)| table)
}
