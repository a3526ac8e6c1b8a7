//! What a seed has come to.

use std::{fmt, time::Duration};

use serde_json::Value;

/// The result of a case.
#[derive(Clone, Debug)]
pub struct Report {
    /// The hash of the trace.
    pub trace: String,
    /// How long it took in simulated time.
    pub simulated: Duration,
    /// The states that were reached.
    pub reached: Vec<String>,
    /// The properties that did not hold.
    pub violations: Vec<String>,
}

impl Report {
    /// Whether a property did not hold.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.violations.is_empty()
    }

    /// Whether a property did not hold that did not in another report either, be it of another
    /// client, record or time.
    #[must_use]
    pub fn fails_like(&self, other: &Self) -> bool {
        let kind = |violation: &String| {
            let words = violation.split_whitespace();
            let words = words.filter(|word| !word.contains(|letter: char| letter.is_ascii_digit()));
            words.collect::<Vec<_>>().join(" ")
        };
        let known: Vec<String> = other.violations.iter().map(kind).collect();
        self.violations.iter().any(|violation| known.contains(&kind(violation)))
    }

    pub(crate) fn read(result: &Value) -> Self {
        let texts = |name: &str| {
            let items = result[name].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            trace: result["trace"].as_str().unwrap_or_default().to_owned(),
            simulated: Duration::from_millis(result["simulated_ms"].as_u64().unwrap_or(0)),
            reached: texts("reached"),
            violations: texts("violations"),
        }
    }

    /// A process that ends without a result has panicked.
    pub(crate) fn of_panic(message: &str) -> Self {
        Self {
            trace: String::new(),
            simulated: Duration::ZERO,
            reached: Vec::new(),
            violations: vec![format!("the process ended: {message}")],
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trace {}, {:.1} s simulated", self.trace, self.simulated.as_secs_f64())?;
        writeln!(f, "reached: {}", self.reached.join(", "))?;
        match &self.violations[..] {
            [] => write!(f, "every property holds"),
            violations => write!(f, "violated:\n  {}", violations.join("\n  ")),
        }
    }
}
