//! `simulate`: runs seeds until one fails, or replays one and shrinks it.

use std::{
    collections::BTreeMap,
    num::{NonZeroU64, NonZeroUsize},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use simulation::{
    plan::Fault,
    report::Report,
    runner::{self, Case, Runner},
    states::STATES,
};

#[derive(Parser)]
struct Arguments {
    /// Replays this seed, prints its trace, and looks for a smaller run that fails.
    #[arg(long)]
    seed: Option<u64>,
    /// Faults that do not happen.
    #[arg(long, value_enum, value_delimiter = ',', requires = "seed")]
    without: Vec<Fault>,
    /// Number of records, instead of the seed's.
    #[arg(long, requires = "seed")]
    records: Option<NonZeroUsize>,
    /// The first of the seeds to run.
    #[arg(long, default_value = "1", conflicts_with = "seed")]
    from: u64,
    /// How many seeds to run; without it until the first failure.
    #[arg(long, conflicts_with = "seed")]
    count: Option<NonZeroU64>,
    /// Runs on after a failure.
    #[arg(long, conflicts_with = "seed")]
    keep_going: bool,
}

fn main() -> ExitCode {
    if runner::is_child() {
        return runner::run_as_child();
    }
    let arguments = Arguments::parse();
    let runner = Runner::this_program();
    match arguments.seed {
        Some(seed) => {
            let records = arguments.records.map(NonZeroUsize::get);
            let case = Case { seed, without: arguments.without, records };
            replay(&runner, &case)
        }
        None => search(&runner, &arguments),
    }
}

fn replay(runner: &Runner, case: &Case) -> ExitCode {
    let report = runner.run_with_trace(case);
    println!("{report}");
    let again = runner.run(case);
    if again.trace != report.trace {
        println!("a second run of the seed differs: {again}");
        return ExitCode::FAILURE;
    }
    if !report.has_failed() {
        return ExitCode::SUCCESS;
    }
    let before = report.clone();
    let (smaller, report) = runner.shrink(case, report, |smaller| smaller.fails_like(&before));
    println!("\nthe smallest failing run that was found: {}\n{report}", smaller.command());
    ExitCode::FAILURE
}

fn search(runner: &Runner, arguments: &Arguments) -> ExitCode {
    let (begin, mut totals) = (Instant::now(), Totals::default());
    let mut last_printed = Instant::now();
    let count = arguments.count.map_or(u64::MAX, NonZeroU64::get);
    let cases = (arguments.from..=u64::MAX).take(usize::try_from(count).unwrap_or(usize::MAX));
    runner.run_all(cases.map(Case::of_seed), |case, report| {
        if report.has_failed() {
            println!("FAILED: {}: {}", case.command(), report.violations.join("; "));
        }
        totals.add(report);
        if last_printed.elapsed() > Duration::from_secs(10) {
            last_printed = Instant::now();
            totals.print(begin.elapsed());
        }
        totals.failed == 0 || arguments.keep_going
    });
    totals.print(begin.elapsed());
    for state in STATES.iter().filter(|state| !totals.reached.contains_key(**state)) {
        println!("state not reached: {state}");
    }
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    failed: u64,
    simulated: Duration,
    /// How many seeds have reached each state.
    reached: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.failed += u64::from(report.has_failed());
        self.simulated += report.simulated;
        for state in &report.reached {
            *self.reached.entry(state.clone()).or_default() += 1;
        }
    }

    fn print(&self, elapsed: Duration) {
        let (seconds, hours) = (elapsed.as_secs_f64(), self.simulated.as_secs_f64() / 3600.0);
        #[expect(clippy::cast_precision_loss, reason = "a rate is printed with one digit")]
        let rate = self.seeds as f64 / seconds;
        println!(
            "{} seeds, {} failed, {rate:.1} seeds a second, {hours:.1} simulated hours, \
             {} of {} states reached",
            self.seeds,
            self.failed,
            self.reached.len(),
            STATES.len()
        );
        for (state, seeds) in &self.reached {
            println!("  {seeds:>6} {state}");
        }
    }
}
