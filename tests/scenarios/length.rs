//! How long the scenarios on faults last, and the seed of what is random in them.

/// The length of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Seconds for each scenario: `make test`.
    Short,
    /// Minutes: `make chaos`, which sets `CHAOS`.
    Long,
}

impl Length {
    pub(crate) fn of_run() -> Self {
        if std::env::var_os("CHAOS").is_some() { Self::Long } else { Self::Short }
    }

    /// The one for short runs or the other.
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

/// The seed for `what`: `SEED`, else a fresh one, printed so that the run can be repeated.
pub(crate) fn seed(what: &str) -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("{what}: SEED={seed}");
    seed
}
