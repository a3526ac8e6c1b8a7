//! What the system is run with: as far as it can be checked without running it in containers.

mod containers;

use crate::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    containers::scenarios()
}
