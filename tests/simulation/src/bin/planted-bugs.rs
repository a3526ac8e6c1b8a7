//! `planted-bugs`: plants one bug after another in a copy of the repository and looks for the first
//! seed that fails. Prints the table for `tests/README.md`; arguments select bugs by parts of their
//! descriptions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use simulation::{
    planted::{BUGS, Bug},
    runner::{Case, Runner},
};

/// A bug that is not found within so many seeds counts as missed.
const MAX_SEEDS: u64 = 2_000;

fn main() -> anyhow::Result<ExitCode> {
    let only: Vec<String> = std::env::args().skip(1).collect();
    let is_selected =
        |bug: &&Bug| only.is_empty() || only.iter().any(|part| bug.description.contains(part));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("a root")?;
    let folder = root.join("target/planted");
    let source = folder.join("source");
    copy_sources(root, &source)?;
    let mut missed = 0;
    println!("| planted bug | found by seed |\n|---|---|");
    for bug in BUGS.iter().filter(is_selected) {
        let begin = Instant::now();
        let original = plant(bug, &source)?;
        let program = build(&source, &folder.join("target"));
        fs::write(source.join(bug.file), original)?;
        let result = if let Some((seed, violation)) = first_failure(&Runner::at(program?)) {
            println!("| {} | {seed} |", bug.description);
            violation
        } else {
            missed += 1;
            println!("| {} | none of {MAX_SEEDS} |", bug.description);
            "no violation".to_owned()
        };
        eprintln!("{}, {:.0} s: {result}", bug.description, begin.elapsed().as_secs_f64());
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Copies all files that Git does not ignore; files that are unchanged keep their times, so
/// that they are not built again.
fn copy_sources(root: &Path, to: &Path) -> anyhow::Result<()> {
    let listed = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()?;
    ensure!(listed.status.success(), "git cannot list the files");
    let listed = String::from_utf8(listed.stdout)?;
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root.join(file), to.join(file));
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|present| present == content) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::write(to, content)?;
    }
    Ok(())
}

/// Plants a bug; returns the text of the file without it.
fn plant(bug: &Bug, source: &Path) -> anyhow::Result<String> {
    let path = source.join(bug.file);
    let text = fs::read_to_string(&path).with_context(|| bug.file.to_owned())?;
    ensure!(text.matches(bug.correct).count() == 1, "{}: no single {:?}", bug.file, bug.correct);
    fs::write(path, text.replace(bug.correct, bug.wrong))?;
    Ok(text)
}

fn build(source: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package", "simulation", "--bin", "simulate"])
        .env("CARGO_TARGET_DIR", target)
        .current_dir(source)
        .status()?;
    ensure!(built.success(), "the source with the bug does not compile");
    Ok(target.join("debug/simulate"))
}

/// Returns the first seed that fails, and the first violation.
fn first_failure(runner: &Runner) -> Option<(u64, String)> {
    let mut found = None;
    runner.run_all((1..=MAX_SEEDS).map(Case::of_seed), |case, report| {
        let violation = report.violations.first();
        found = violation.map(|violation| (case.seed, violation.replace('\n', " ")));
        found.is_none()
    });
    found
}
