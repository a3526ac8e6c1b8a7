//! What the system is run with: as far as it can be checked without running it in containers.

mod containers;
mod manifests;
mod monitoring;

use crate::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    [containers::scenarios(), manifests::scenarios(), monitoring::scenarios()]
        .into_iter()
        .flatten()
        .collect()
}
