//! Where the figures go: a line of JSON each into `target/bench.jsonl` as soon as it is there, and
//! a table at the end, ready for the README.

use std::{fs::File, io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use harness::workspace;

use crate::{figure::Row, machine};

/// The rows so far.
pub(crate) struct Report {
    file: File,
    rows: Vec<Row>,
}

/// The folder `target`, or where `BENCH_FOLDER` says.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("BENCH_FOLDER") {
        return Ok(folder.into());
    }
    Ok(workspace::cache()?.join("../").canonicalize()?)
}

impl Report {
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let path = target()?.join("bench.jsonl");
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { file, rows: Vec::new() })
    }

    pub(crate) fn add(&mut self, row: Row) -> anyhow::Result<()> {
        eprintln!("  {}", line(&row));
        writeln!(self.file, "{}", serde_json::to_string(&row)?)?;
        self.rows.push(row);
        Ok(())
    }

    /// Prints the table. A figure that could not be measured is a failure; a goal that is missed
    /// is not.
    pub(crate) fn end(self, whole: bool) -> anyhow::Result<ExitCode> {
        let about = machine::describe();
        println!("\n{about}\n\n{}", table(&self.rows));
        let path = target()?.join("bench.md");
        std::fs::write(&path, format!("{about}\n\n{}", table(&self.rows)))?;
        println!("In target/: bench.jsonl, bench.md (this table), latency.svg");
        if !whole {
            println!("Not the whole set: these figures are not for the README.");
        }
        let failed = self.rows.iter().any(Row::has_failed);
        Ok(if failed || self.rows.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn line(row: &Row) -> String {
    let value = row.value.map_or_else(|| "-".into(), figure);
    let met = word(row.met);
    format!("{} {value} {} ({}) {met} {}", row.name, row.unit, row.goal, row.note)
}

fn word(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "missed",
        None => "",
    }
}

/// Four digits are enough for anything.
fn figure(value: f64) -> String {
    match value.abs() {
        1_000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| figure | value | limit | ratio | goal | | |\n|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let [value, limit, ratio] =
            [row.value, row.limit, row.ratio].map(|cell| cell.map_or_else(String::new, figure));
        let cells = [
            &row.name,
            &format!("{value} {}", row.unit),
            &limit,
            &ratio,
            &row.goal,
            word(row.met),
            // A reason may be an error of any text.
            &row.note.replace('|', "/").replace('\n', " "),
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
    fn the_table_has_a_line_for_each_figure_and_says_what_is_missed() {
        let met = Row::of("a", "ms", vec![4.0], Goal::AtMost(5.0)).beside(2.0);
        let failed = Row::failed("b", &anyhow::anyhow!("a | b\nc"));
        let table = table(&[met, failed]);
        assert!(table.contains("| a | 4.00 ms | 2.00 | 2.00 | at most 5 | met |  |"), "{table}");
        assert!(table.contains("missed | failed: a / b c |"), "{table}");
    }
}
