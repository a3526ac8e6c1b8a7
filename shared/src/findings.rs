//! The findings of the command `check` of both services: one line each, with the cure of what is
//! wrong. A check changes nothing.

use std::{fmt, time::Duration};

use anyhow::ensure;
use serde::Serialize;

/// Time limit of each part of the command; they run at the same time, and it ends within 10 s.
pub const PART_LIMIT: Duration = Duration::from_secs(9);

/// The findings, in the order in which they are printed.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

/// What a check has found out about one thing.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    result: CheckResult,
    /// What was checked, such as `Kafka`.
    subject: &'static str,
    text: String,
    /// What to do; none if nothing is wrong.
    cure: Option<String>,
}

/// Whether a service works with what a check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum CheckResult {
    /// It does.
    Ok,
    /// It does, but the operator should know this.
    Note,
    /// It does not.
    Failed,
}

impl Findings {
    /// Adds that something is as it should be.
    pub fn ok(&mut self, subject: &'static str, text: impl Into<String>) {
        self.add(CheckResult::Ok, subject, &text.into(), None);
    }

    /// Adds something that the service works with, and what to do unless it is intended.
    pub fn note(&mut self, subject: &'static str, text: impl Into<String>, cure: &str) {
        self.add(CheckResult::Note, subject, &text.into(), Some(cure));
    }

    /// Adds something that the service does not work with, and what to do.
    pub fn failed(&mut self, subject: &'static str, text: impl Into<String>, cure: &str) {
        self.add(CheckResult::Failed, subject, &text.into(), Some(cure));
    }

    /// Appends the findings of another part.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn add(&mut self, result: CheckResult, subject: &'static str, text: &str, cure: Option<&str>) {
        let text = text.replace('\n', " ");
        self.0.push(Finding { result, subject, text, cure: cure.map(str::to_owned) });
    }

    /// Prints the findings on standard output.
    ///
    /// # Errors
    /// With the number of those that the service does not work with, if there are any.
    pub fn print(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            println!("{}", serde_json::to_string_pretty(self)?);
        } else {
            print!("{self}");
        }
        let failed = self.0.iter().filter(|f| f.result == CheckResult::Failed).count();
        ensure!(failed == 0, "checks failed: {failed} of {}", self.0.len());
        Ok(())
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { result, subject, text, cure } in &self.0 {
            let result = match result {
                CheckResult::Ok => "ok",
                CheckResult::Note => "note",
                CheckResult::Failed => "FAILED",
            };
            write!(f, "{result:<7} {subject}: {text}")?;
            match cure {
                Some(cure) => writeln!(f, "; {cure}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_and_only_a_failed_one_fails_the_check() {
        let mut findings = Findings::default();
        findings.ok("Redis", "version 7.0");
        findings.note("Redis", "keys may be evicted", "set noeviction");
        assert!(findings.print(false).is_ok());
        findings.failed("Kafka", "no broker\nanswers", "check KAFKA_BOOTSTRAP_SERVERS");
        assert_eq!(findings.print(true).unwrap_err().to_string(), "checks failed: 1 of 3");
        assert_eq!(
            findings.to_string(),
            "ok      Redis: version 7.0\n\
             note    Redis: keys may be evicted; set noeviction\n\
             FAILED  Kafka: no broker answers; check KAFKA_BOOTSTRAP_SERVERS\n"
        );
    }
}
