//! A measured figure and its goal.

use std::fmt;

use serde::Serialize;

/// The goal of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// No goal.
    Report,
    /// At most this value.
    AtMost(f64),
    /// At least this value.
    AtLeast(f64),
    /// At least this ratio to the limit.
    RatioAtLeast(f64),
    /// At most this ratio to the limit.
    RatioAtMost(f64),
}

/// A figure, one line of `bench.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// The median of the runs; none if the measurement failed.
    pub(crate) value: Option<f64>,
    /// Unit of value and limit.
    pub(crate) unit: &'static str,
    /// The physical limit or baseline, measured in the same run.
    pub(crate) limit: Option<f64>,
    /// Value divided by limit.
    pub(crate) ratio: Option<f64>,
    /// The value of each run.
    pub(crate) runs: Vec<f64>,
    /// The goal as text.
    pub(crate) goal: String,
    /// Whether the goal is met; none without a goal or value.
    pub(crate) met: Option<bool>,
    /// Conditions and further values.
    pub(crate) note: String,
    #[serde(skip)]
    target: Goal,
    #[serde(skip)]
    is_skipped: bool,
}

impl Figure {
    /// Creates a figure from the values of its runs.
    pub(crate) fn new(name: &str, unit: &'static str, runs: Vec<f64>, target: Goal) -> Self {
        let value = median(&runs);
        let (name, note) = (name.to_owned(), String::new());
        let goal = target.to_string();
        let (limit, ratio, met, is_skipped) = (None, None, None, false);
        let figure =
            Self { name, value, unit, limit, ratio, runs, goal, met, note, target, is_skipped };
        figure.evaluated()
    }

    /// Creates a figure whose measurement failed.
    pub(crate) fn failed(name: &str, problem: &anyhow::Error) -> Self {
        let figure = Self::new(name, "", Vec::new(), Goal::Report);
        Self { met: Some(false), note: format!("failed: {problem:#}"), ..figure }
    }

    /// Creates a figure that this machine cannot measure.
    pub(crate) fn skipped(name: &str, reason: &str) -> Self {
        let note = format!("skipped: {reason}");
        Self { is_skipped: true, note, ..Self::new(name, "", Vec::new(), Goal::Report) }
    }

    /// Returns whether the measurement failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.value.is_none() && !self.is_skipped
    }

    /// Sets the limit.
    pub(crate) fn with_limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self.ratio = self.value.filter(|_| limit > 0.0).map(|value| value / limit);
        self.evaluated()
    }

    /// Sets the note.
    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Marks the goal as missed if there is a problem, whatever the value.
    pub(crate) fn missed_if(mut self, problem: Option<String>) -> Self {
        if let Some(problem) = problem {
            self.met = Some(false);
            let separator = if self.note.is_empty() { "" } else { "; " };
            self.note = format!("{}{separator}{problem}", self.note);
        }
        self
    }

    fn evaluated(mut self) -> Self {
        self.met = match self.target {
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
            Self::Report => f.write_str("none"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::RatioAtLeast(least) => write!(f, "ratio at least {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio at most {most}"),
        }
    }
}

/// Returns the median; none of an empty slice.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_compares_the_median_with_the_value_or_limit() {
        let figure = Figure::new("it", "a second", vec![9.0, 1.0, 8.0], Goal::RatioAtLeast(0.8));
        assert_eq!((figure.value, figure.met), (Some(8.0), None));
        assert_eq!(figure.clone().with_limit(10.0).met, Some(true));
        assert_eq!(figure.with_limit(11.0).met, Some(false));
        let late = Figure::new("it", "ms", vec![5.0], Goal::AtMost(5.0));
        assert_eq!(late.met, Some(true));
        let lost = late.with_note("p50 1").missed_if(Some("1 text is missing".into()));
        assert_eq!((lost.met, &*lost.note), (Some(false), "p50 1; 1 text is missing"));
    }

    #[test]
    fn a_failed_figure_has_no_value_and_a_reason() {
        let failed = Figure::failed("it", &anyhow::anyhow!("no broker"));
        assert_eq!((failed.value, failed.met), (None, Some(false)));
        assert_eq!(failed.note, "failed: no broker");
        assert!(failed.has_failed() && !Figure::skipped("it", "no tool").has_failed());
    }
}
