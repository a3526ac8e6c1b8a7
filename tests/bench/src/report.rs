//! Writes each figure to `target/bench.jsonl` as soon as it is measured, and a Markdown table of
//! all figures at the end.

use std::{fs::File, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use harness::workspace;

use crate::{figure::Figure, machine};

/// The figures so far.
pub(crate) struct Report {
    file: File,
    figures: Vec<Figure>,
}

/// Returns the folder of the results: `BENCH_FOLDER`, or else `target`.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("BENCH_FOLDER") {
        return Ok(folder.into());
    }
    Ok(workspace::cache()?.join("../").canonicalize()?)
}

impl Report {
    pub(crate) fn create() -> anyhow::Result<Self> {
        let path = folder()?.join("bench.jsonl");
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { file, figures: Vec::new() })
    }

    pub(crate) fn add(&mut self, figure: Figure) -> anyhow::Result<()> {
        eprintln!("  {}", line(&figure));
        writeln!(self.file, "{}", serde_json::to_string(&figure)?)?;
        self.figures.push(figure);
        Ok(())
    }

    /// Prints and writes the table. Fails when a measurement failed, not when a goal is missed.
    pub(crate) fn finish(self, is_complete: bool) -> anyhow::Result<ExitCode> {
        let machine_line = machine::describe();
        println!("\n{machine_line}\n\n{}", table(&self.figures));
        let path = folder()?.join("bench.md");
        std::fs::write(&path, format!("{machine_line}\n\n{}", table(&self.figures)))?;
        println!("In target/: bench.jsonl, bench.md (this table), latency.svg");
        if !is_complete {
            println!("Incomplete or quick run: do not publish these figures.");
        }
        let failed = self.figures.iter().any(Figure::has_failed);
        Ok(if failed || self.figures.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn line(figure: &Figure) -> String {
    let value = figure.value.map_or_else(|| "-".into(), round);
    let met = met_text(figure.met);
    format!("{} {value} {} ({}) {met} {}", figure.name, figure.unit, figure.goal, figure.note)
}

fn met_text(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    }
}

/// Formats with about four digits.
fn round(value: f64) -> String {
    match value.abs() {
        1_000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn table(figures: &[Figure]) -> String {
    let mut table = String::from(
        "| figure | value | limit | ratio | goal | | |\n|---|---|---|---|---|---|---|\n",
    );
    for figure in figures {
        let [value, limit, ratio] = [figure.value, figure.limit, figure.ratio]
            .map(|cell| cell.map_or_else(String::new, round));
        let cells = [
            &figure.name,
            &format!("{value} {}", figure.unit),
            &limit,
            &ratio,
            &figure.goal,
            met_text(figure.met),
            // Characters that would break the table.
            &figure.note.replace('|', "/").replace('\n', " "),
        ];
        table.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Goal;

    #[test]
    fn the_table_has_a_line_per_figure_and_marks_missed_goals() {
        let met = Figure::new("a", "ms", vec![4.0], Goal::AtMost(5.0)).with_limit(2.0);
        let failed = Figure::failed("b", &anyhow::anyhow!("a | b\nc"));
        let table = table(&[met, failed]);
        assert!(table.contains("| a | 4.00 ms | 2.00 | 2.00 | at most 5 | met |  |"), "{table}");
        assert!(table.contains("missed | failed: a / b c |"), "{table}");
    }
}
