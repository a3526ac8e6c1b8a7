//! What the system is run with: as far as it can be checked without running it in containers,
//! and what the autoscalers and Prometheus do to the services and ask them.

mod containers;
mod documents;
mod manifests;
mod monitoring;
mod scale;
mod scraped;

use crate::Scenario;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let all = [
        containers::scenarios(),
        documents::scenarios(),
        manifests::scenarios(),
        monitoring::scenarios(),
        scraped::scenarios(),
        scale::scenarios(),
    ];
    all.into_iter().flatten().collect()
}
