//! What the system is run with: as far as it can be checked without running it in containers.

mod containers;
mod manifests;

use crate::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    [containers::scenarios(), manifests::scenarios()].into_iter().flatten().collect()
}
