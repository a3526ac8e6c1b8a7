//! `make bench`: every figure that the README states, measured on this machine, with the limit
//! beside it where there is one. Each measurement starts its own processes and ends them; one that
//! fails is recorded as failed, and the others go on.
//!
//! `ONLY=name,name` runs those whose name contains one of them; `QUICK=1` runs all in small, which shows that
//! they work and says nothing about speed.

use std::{future::Future, pin::Pin, process::ExitCode, time::Duration};

use anyhow::Context as _;
use tokio::time::{Instant, timeout};

use rig::Rig;
use row::Row;

mod bare;
mod comeback;
mod connects;
mod deliveries;
mod fanout;
mod idle;
mod instructions;
mod ladder;
mod large;
mod machine;
mod plot;
mod report;
mod rig;
mod row;
mod script;
mod slow;
mod soak;
mod urgent;
mod worker;
mod writes;

type Measured<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Row>>> + 'a>>;

/// Figures that are measured together.
struct Group {
    /// What their names begin with; such a row says so if the measurement fails.
    names: &'static [&'static str],
    run: for<'a> fn(&'a Rig) -> Measured<'a>,
    limit: Duration,
}

const fn group(
    names: &'static [&'static str],
    minutes: u64,
    run: for<'a> fn(&'a Rig) -> Measured<'a>,
) -> Group {
    Group { names, run, limit: Duration::from_secs(60 * minutes) }
}

const GROUPS: [Group; 13] = [
    group(&["idle_kib_per_connection", "idle_us_per_connection_second"], 4, |rig| {
        Box::pin(idle::measure(rig))
    }),
    group(&["instructions"], 3, |rig| Box::pin(instructions::measure(rig))),
    group(&["deliveries_per_core"], 4, |rig| Box::pin(deliveries::measure(rig))),
    group(&["fanout"], 3, |rig| Box::pin(fanout::measure(rig))),
    group(&["low_frames"], 2, |rig| Box::pin(writes::measure(rig))),
    group(&["connects_per_second"], 4, |rig| Box::pin(connects::measure(rig))),
    group(&["worker_events_per_second"], 4, |rig| Box::pin(worker::measure(rig))),
    group(&["urgent_under_backlog"], 3, |rig| Box::pin(urgent::measure(rig))),
    group(&["latency_ladder"], 8, |rig| Box::pin(ladder::measure(rig))),
    group(&["slow_sockets"], 3, |rig| Box::pin(slow::measure(rig))),
    group(&["comeback"], 4, |rig| Box::pin(comeback::measure(rig))),
    group(&["100k"], 6, |rig| Box::pin(large::measure(rig))),
    group(&["soak"], 14, |rig| Box::pin(soak::measure(rig))),
];

fn main() -> anyhow::Result<ExitCode> {
    // How this program starts itself as the server to compare with.
    if std::env::args().nth(1).as_deref() == Some("bare") {
        return bare::serve().map(|()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure_all())
}

async fn measure_all() -> anyhow::Result<ExitCode> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let only = set("ONLY").unwrap_or_default();
    let rig = Rig { quick: set("QUICK").is_some_and(|quick| quick != "0") };
    let mut report = report::Report::begin()?;
    let is_chosen = |name: &&str| only.split(',').any(|part| name.contains(part));
    let chosen = GROUPS.iter().filter(|group| group.names.iter().any(is_chosen));
    for group in chosen {
        let begun = Instant::now();
        eprintln!("{} ...", group.names.join(", "));
        let measured = timeout(group.limit, (group.run)(&rig)).await;
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
    report.end(only.is_empty() && !rig.quick)
}
