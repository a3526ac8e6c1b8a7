//! How long scenarios run, and the seed of those that are random.

/// The length of a run, chosen by the environment variable `CHAOS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunProfile {
    /// Seconds for each scenario: `make test`.
    Test,
    /// Minutes for each fault scenario: `make chaos`.
    Chaos,
}

impl RunProfile {
    pub(crate) fn current() -> Self {
        if std::env::var_os("CHAOS").is_some() { Self::Chaos } else { Self::Test }
    }

    /// Returns the value for this profile.
    pub(crate) fn pick<T>(self, test: T, chaos: T) -> T {
        match self {
            Self::Test => test,
            Self::Chaos => chaos,
        }
    }
}

/// Returns `SEED`, or else a random seed, and prints it so that the run can be repeated.
pub(crate) fn seed(scenario: &str) -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("{scenario}: SEED={seed}");
    seed
}
