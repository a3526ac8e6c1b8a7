//! `make bench`: every figure that the README states, measured on this machine, with the limit
//! beside it where there is one. Each measurement starts its own processes and ends them; one that
//! fails is recorded as failed, and the others go on.
//!
//! `ONLY=name,name` runs those whose name contains one of them; `QUICK=1` runs all in small, which shows that
//! they work and says nothing about speed.

use std::{future::Future, pin::Pin, process::ExitCode, time::Duration};

use anyhow::Context as _;
use tokio::time::{Instant, timeout};

use figure::Row;
use setup::Setup;

mod baseline;
mod connects;
mod deliveries;
mod fanout;
mod figure;
mod idle;
mod immediate;
mod instructions;
mod large;
mod latency;
mod machine;
mod plot;
mod reconnect;
mod report;
mod script;
mod setup;
mod slow_clients;
mod soak;
mod worker;
mod writes;

type Measured<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Row>>> + 'a>>;

/// Figures that are measured together.
struct Group {
    /// What their names begin with; such a row says so if the measurement fails.
    names: &'static [&'static str],
    run: for<'a> fn(&'a Setup) -> Measured<'a>,
    limit: Duration,
}

const fn group(
    names: &'static [&'static str],
    minutes: u64,
    run: for<'a> fn(&'a Setup) -> Measured<'a>,
) -> Group {
    Group { names, run, limit: Duration::from_secs(60 * minutes) }
}

const GROUPS: [Group; 13] = [
    group(&["idle_kib_per_connection", "idle_us_per_connection_second"], 4, |setup| {
        Box::pin(idle::measure(setup))
    }),
    group(&["instructions"], 3, |setup| Box::pin(instructions::measure(setup))),
    group(&["deliveries_per_core"], 4, |setup| Box::pin(deliveries::measure(setup))),
    group(&["fanout"], 3, |setup| Box::pin(fanout::measure(setup))),
    group(&["low_frames"], 2, |setup| Box::pin(writes::measure(setup))),
    group(&["connects_per_second"], 4, |setup| Box::pin(connects::measure(setup))),
    group(&["worker_events_per_second"], 4, |setup| Box::pin(worker::measure(setup))),
    group(&["urgent_under_backlog"], 3, |setup| Box::pin(immediate::measure(setup))),
    group(&["latency_ladder"], 8, |setup| Box::pin(latency::measure(setup))),
    group(&["slow_sockets"], 3, |setup| Box::pin(slow_clients::measure(setup))),
    group(&["comeback"], 4, |setup| Box::pin(reconnect::measure(setup))),
    group(&["100k"], 6, |setup| Box::pin(large::measure(setup))),
    group(&["soak"], 14, |setup| Box::pin(soak::measure(setup))),
];

fn main() -> anyhow::Result<ExitCode> {
    // How this program starts itself as the server to compare with.
    if std::env::args().nth(1).as_deref() == Some("bare") {
        return baseline::serve().map(|()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure_all())
}

async fn measure_all() -> anyhow::Result<ExitCode> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let only = set("ONLY").unwrap_or_default();
    let setup = Setup { quick: set("QUICK").is_some_and(|quick| quick != "0") };
    let mut report = report::Report::begin()?;
    let is_chosen = |name: &&str| only.split(',').any(|part| name.contains(part));
    let chosen = GROUPS.iter().filter(|group| group.names.iter().any(is_chosen));
    for group in chosen {
        let begun = Instant::now();
        eprintln!("{} ...", group.names.join(", "));
        let measured = timeout(group.limit, (group.run)(&setup)).await;
        let measured = measured.with_context(|| format!("not done within {:?}", group.limit));
        let rows = match measured.and_then(|rows| rows) {
            Ok(rows) => rows,
            Err(problem) => {
                let failed = |name: &&str| Row::failed(name, &problem);
                group.names.iter().map(failed).collect()
            }
        };
        for row in rows {
            report.add(row)?;
        }
        eprintln!("  took {:.0?}", begun.elapsed());
    }
    report.end(only.is_empty() && !setup.quick)
}
