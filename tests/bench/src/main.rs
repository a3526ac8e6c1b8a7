//! `make bench`: measures every figure of `tests/README.md` on this machine, with its limit where
//! there is one. Each measurement starts processes of its own; a failed one does not stop the
//! others. `ONLY=name,name` selects figures by their names or parts of them, with those that are
//! measured together. `QUICK=1` measures at a small scale, to check that the measurements work.

use std::{future::Future, pin::Pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use tokio::time::{Instant, timeout};

use env::Env;
use figure::Figure;

mod baseline;
mod burst;
mod connects;
mod deliveries;
mod env;
mod fanout;
mod figure;
mod idle;
mod immediate;
mod instructions;
mod large;
mod latency;
mod long_poll;
mod machine;
mod masters;
mod parked;
mod plot;
mod read_state;
mod reconnect;
mod report;
mod scale;
mod script;
mod slow_clients;
mod soak;
mod worker;
mod writes;

type Measured<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Figure>>> + 'a>>;

/// Figures that are measured together.
struct Group {
    /// Prefixes of the figures' names; a failure is reported under each of them.
    names: &'static [&'static str],
    run: for<'a> fn(&'a Env) -> Measured<'a>,
    limit: Duration,
}

const fn group(
    names: &'static [&'static str],
    minutes: u64,
    run: for<'a> fn(&'a Env) -> Measured<'a>,
) -> Group {
    Group { names, run, limit: Duration::from_secs(60 * minutes) }
}

const GROUPS: [Group; 19] = [
    group(&["idle_kib_per_connection", "idle_us_per_connection_second"], 4, |env| {
        Box::pin(idle::measure(env))
    }),
    group(&["instructions"], 3, |env| Box::pin(instructions::measure(env))),
    group(&["baseline", "deliveries_per_core"], 8, |env| Box::pin(deliveries::measure(env))),
    group(&["burst_frames_per_core"], 3, |env| Box::pin(burst::measure(env))),
    group(&["fanout"], 3, |env| Box::pin(fanout::measure(env))),
    group(&["writes_per_low_priority_frame"], 2, |env| Box::pin(writes::measure(env))),
    group(&["connects_per_second"], 4, |env| Box::pin(connects::measure(env))),
    group(&["badge_p99"], 3, |env| Box::pin(read_state::measure(env))),
    group(&["poll_us_per_client_second"], 4, |env| Box::pin(long_poll::measure(env))),
    group(&["worker_events_per_second", "worker_us_per_event"], 5, |env| {
        Box::pin(worker::measure(env))
    }),
    group(&["masters"], 8, |env| Box::pin(masters::measure(env))),
    group(&["parked_us_per_record"], 8, |env| Box::pin(parked::measure(env))),
    group(&["scale_us_per_event", "scale_us_per_delivery"], 8, |env| Box::pin(scale::measure(env))),
    group(&["immediate_under_backlog"], 3, |env| Box::pin(immediate::measure(env))),
    group(&["latency"], 8, |env| Box::pin(latency::measure(env))),
    group(&["slow_clients"], 3, |env| Box::pin(slow_clients::measure(env))),
    group(&["reconnect"], 4, |env| Box::pin(reconnect::measure(env))),
    group(&["100k"], 6, |env| Box::pin(large::measure(env))),
    group(&["soak"], 14, |env| Box::pin(soak::measure(env))),
];

fn main() -> anyhow::Result<ExitCode> {
    // The benchmark starts itself as the baseline server.
    if std::env::args().nth(1).as_deref() == Some("baseline") {
        return baseline::serve(std::env::args().skip(2)).map(|()| ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure_all())
}

async fn measure_all() -> anyhow::Result<ExitCode> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let only = variable("ONLY").unwrap_or_default();
    let env = Env { quick: variable("QUICK").is_some_and(|quick| quick != "0") };
    let mut report = report::Report::create()?;
    let is_selected =
        |name: &&str| only.split(',').any(|part| name.contains(part) || part.starts_with(*name));
    let selected = GROUPS.iter().filter(|group| group.names.iter().any(is_selected));
    let selected: Vec<&Group> = selected.collect();
    if selected.is_empty() {
        let names: Vec<&str> = GROUPS.iter().flat_map(|group| group.names).copied().collect();
        bail!("ONLY={only} names no figure; their names begin with {}", names.join(", "));
    }
    for group in selected {
        let begun = Instant::now();
        eprintln!("{} ...", group.names.join(", "));
        let measured = timeout(group.limit, (group.run)(&env)).await;
        let measured = measured.with_context(|| format!("not finished within {:?}", group.limit));
        let figures = match measured.and_then(|figures| figures) {
            Ok(figures) => figures,
            Err(problem) => {
                let failed = |name: &&str| Figure::failed(name, &problem);
                group.names.iter().map(failed).collect()
            }
        };
        for figure in figures {
            report.add(figure)?;
        }
        eprintln!("  took {:.0?}", begun.elapsed());
    }
    report.finish(only.is_empty() && !env.quick)
}
