//! One figure, and whether it is what was aimed at.

use std::fmt;

use serde::Serialize;

/// What is aimed at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The figure is reported; nothing is aimed at.
    Report,
    /// So much at most.
    AtMost(f64),
    /// So much at least.
    AtLeast(f64),
    /// So much of the limit at least.
    RatioAtLeast(f64),
    /// So many times the limit at most.
    RatioAtMost(f64),
}

/// A figure as it is written, a line each.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// The median of the runs; none: it could not be measured.
    pub(crate) value: Option<f64>,
    /// Of the value and the limit.
    pub(crate) unit: &'static str,
    /// The physical limit, or what it is compared with, measured in the same run.
    pub(crate) limit: Option<f64>,
    /// The value by the limit.
    pub(crate) ratio: Option<f64>,
    /// The value of each run.
    pub(crate) runs: Vec<f64>,
    /// What is aimed at, in words.
    pub(crate) goal: String,
    /// Whether it is reached; none: nothing is aimed at, or there is no figure.
    pub(crate) met: Option<bool>,
    /// What else is to be known.
    pub(crate) note: String,
    #[serde(skip)]
    aim: Goal,
    #[serde(skip)]
    is_left_out: bool,
}

impl Row {
    /// A figure from one or several runs.
    pub(crate) fn of(name: &str, unit: &'static str, runs: Vec<f64>, aim: Goal) -> Self {
        let value = median(&runs);
        let (name, note) = (name.to_owned(), String::new());
        let goal = aim.to_string();
        let (limit, ratio, met, is_left_out) = (None, None, None, false);
        let row = Self { name, value, unit, limit, ratio, runs, goal, met, note, aim, is_left_out };
        row.judged()
    }

    /// What could not be measured, and why.
    pub(crate) fn failed(name: &str, problem: &anyhow::Error) -> Self {
        let row = Self::of(name, "", Vec::new(), Goal::Report);
        Self { met: Some(false), note: format!("failed: {problem:#}"), ..row }
    }

    /// What is not measured on this machine, and why.
    pub(crate) fn left_out(name: &str, reason: &str) -> Self {
        let note = format!("left out: {reason}");
        Self { is_left_out: true, note, ..Self::of(name, "", Vec::new(), Goal::Report) }
    }

    /// Whether it should have been measured and was not.
    pub(crate) fn has_failed(&self) -> bool {
        self.value.is_none() && !self.is_left_out
    }

    /// The same beside its limit.
    pub(crate) fn beside(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self.ratio = self.value.filter(|_| limit > 0.0).map(|value| value / limit);
        self.judged()
    }

    /// The same with a note.
    pub(crate) fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The same, missed whatever the figure is, if there is a reason.
    pub(crate) fn missed_if(mut self, problem: Option<String>) -> Self {
        if let Some(problem) = problem {
            self.met = Some(false);
            let between = if self.note.is_empty() { "" } else { "; " };
            self.note = format!("{}{between}{problem}", self.note);
        }
        self
    }

    fn judged(mut self) -> Self {
        self.met = match self.aim {
            Goal::Report => None,
            Goal::AtMost(most) => self.value.map(|value| value <= most),
            Goal::AtLeast(least) => self.value.map(|value| value >= least),
            Goal::RatioAtLeast(least) => self.ratio.map(|ratio| ratio >= least),
            Goal::RatioAtMost(most) => self.ratio.map(|ratio| ratio <= most),
        };
        self
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Report => f.write_str("reported"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::RatioAtLeast(least) => write!(f, "ratio at least {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio at most {most}"),
        }
    }
}

/// The middle one; none of none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_judged_by_its_median_and_beside_its_limit() {
        let row = Row::of("it", "a second", vec![9.0, 1.0, 8.0], Goal::RatioAtLeast(0.8));
        assert_eq!((row.value, row.met), (Some(8.0), None));
        assert_eq!(row.clone().beside(10.0).met, Some(true));
        assert_eq!(row.beside(11.0).met, Some(false));
        let late = Row::of("it", "ms", vec![5.0], Goal::AtMost(5.0));
        assert_eq!(late.met, Some(true));
        let lost = late.noted("p50 1").missed_if(Some("1 text is missing".into()));
        assert_eq!((lost.met, &*lost.note), (Some(false), "p50 1; 1 text is missing"));
    }

    #[test]
    fn what_failed_has_no_value_and_says_why() {
        let failed = Row::failed("it", &anyhow::anyhow!("no broker"));
        assert_eq!((failed.value, failed.met), (None, Some(false)));
        assert_eq!(failed.note, "failed: no broker");
        assert!(failed.has_failed() && !Row::left_out("it", "no tool").has_failed());
    }
}
