//! Runs seeds, each in a process of its own, so that nothing but the seed influences it.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{self, Command, ExitCode, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use clap::ValueEnum as _;
use serde_json::json;

use crate::{
    plan::{Fault, Plan},
    report::Report,
    run,
};

/// Makes a process run the seed that is its value, and `host.c` answer with it.
const SEED: &str = "SIMULATION_SEED";
const WITHOUT: &str = "SIMULATION_WITHOUT";
const RECORDS: &str = "SIMULATION_RECORDS";
const TRACE: &str = "SIMULATION_TRACE";

/// A case that takes longer in real time is in an endless loop.
const TIME_LIMIT: Duration = Duration::from_mins(1);

/// The prefix of the line in which a child reports its result.
const RESULT: &str = "result: ";

/// A seed, possibly with parts of its plan left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// Faults of the plan that do not happen.
    pub without: Vec<Fault>,
    /// Number of records, instead of the plan's.
    pub records: Option<usize>,
}

/// Starts the program that runs cases.
#[derive(Debug)]
pub struct Runner(PathBuf);

impl Case {
    /// A seed with its own plan.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self { seed, without: Vec::new(), records: None }
    }

    /// Returns the command that replays it.
    #[must_use]
    pub fn command(&self) -> String {
        let seed = Some(format!("make simulate SEED={}", self.seed));
        let without =
            (!self.without.is_empty()).then(|| format!("WITHOUT={}", names(&self.without)));
        let records = self.records.map(|records| format!("RECORDS={records}"));
        [seed, without, records].into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Returns the plan of the seed without what is left out.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::of_seed(self.seed);
        plan.without.extend(&self.without);
        plan.max_records = self.records.unwrap_or(plan.records);
        plan
    }
}

fn names(faults: &[Fault]) -> String {
    let names = faults.iter().filter_map(Fault::to_possible_value);
    names.map(|name| name.get_name().to_owned()).collect::<Vec<_>>().join(",")
}

/// Returns whether this process is to run one case.
#[must_use]
pub fn is_child() -> bool {
    env::var_os(SEED).is_some()
}

/// Runs the case that the environment names.
///
/// # Panics
/// If the environment does not name a case.
#[must_use]
pub fn run_as_child() -> ExitCode {
    thread::spawn(|| {
        thread::sleep(TIME_LIMIT);
        eprintln!("endless loop: not finished after {TIME_LIMIT:?}");
        process::exit(1);
    });
    let text = |name: &str| env::var(name).unwrap_or_default();
    let without = text(WITHOUT);
    let without = without.split(',').filter_map(|name| Fault::from_str(name, true).ok()).collect();
    let seed = text(SEED).parse().expect("the runner sets a number");
    let case = Case { seed, without, records: text(RECORDS).parse().ok() };
    let outcome = run::run(case.plan(), env::var_os(TRACE).is_some());
    let reached: Vec<&str> = outcome.reached.keys().copied().collect();
    let (hash, lines) = outcome.trace;
    let result = json!({
        "trace": format!("{hash:016x} ({lines} lines)"),
        "simulated_ms": u64::try_from(outcome.simulated.as_millis()).unwrap_or(u64::MAX),
        "reached": reached,
        "violations": outcome.violations,
    });
    println!("{RESULT}{result}");
    ExitCode::SUCCESS
}

impl Runner {
    /// A runner that starts this program.
    ///
    /// # Panics
    /// If the operating system does not return the path of the program.
    #[must_use]
    pub fn this_program() -> Self {
        Self(env::current_exe().expect("a running program has a path"))
    }

    /// A runner that starts the program at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Runs a case.
    #[must_use]
    pub fn run(&self, case: &Case) -> Report {
        self.start(case, false)
    }

    /// Runs a case and prints its trace.
    #[must_use]
    pub fn run_with_trace(&self, case: &Case) -> Report {
        self.start(case, true)
    }

    /// Runs cases on all processors, until `report` returns false or there are no more.
    ///
    /// # Panics
    /// If a child cannot be started.
    pub fn run_all(
        &self,
        cases: impl Iterator<Item = Case> + Send,
        mut report: impl FnMut(&Case, &Report) -> bool,
    ) {
        let cases = Mutex::new(cases);
        let next = || cases.lock().ok().and_then(|mut cases| cases.next());
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (reports, received) = mpsc::sync_channel(threads);
        thread::scope(|scope| {
            for _ in 0..threads {
                let reports = reports.clone();
                scope.spawn(move || {
                    while let Some(case) = next() {
                        let report = self.run(&case);
                        // The receiver is gone once it has seen enough.
                        if reports.send((case, report)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(reports);
            for (case, result) in received {
                if !report(&case, &result) {
                    break;
                }
            }
        });
    }

    /// Looks for a smaller case that `fails` as well: with fewer faults, then with fewer records.
    /// What is left happens as before, until it is influenced by what is not there.
    #[must_use]
    pub fn shrink(
        &self,
        case: &Case,
        report: Report,
        fails: impl Fn(&Report) -> bool,
    ) -> (Case, Report) {
        let (mut smallest, mut report) = (case.clone(), report);
        let mut try_smaller = |smaller: Case, smallest: &mut Case| {
            let result = self.run(&smaller);
            let fails = fails(&result);
            if fails {
                (*smallest, report) = (smaller, result);
            }
            fails
        };
        loop {
            let before = smallest.clone();
            for fault in smallest.plan().enabled() {
                let mut smaller = smallest.clone();
                smaller.without.push(fault);
                try_smaller(smaller, &mut smallest);
            }
            let mut step = smallest.plan().max_records / 2;
            while step > 0 {
                let records = smallest.plan().max_records.saturating_sub(step);
                let smaller = Case { records: Some(records), ..smallest.clone() };
                if records == 0 || !try_smaller(smaller, &mut smallest) {
                    step /= 2;
                }
            }
            if smallest == before {
                break;
            }
        }
        (smallest, report)
    }

    fn start(&self, case: &Case, prints: bool) -> Report {
        let mut command = Command::new(&self.0);
        command.env(SEED, case.seed.to_string()).env(WITHOUT, names(&case.without));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(records) = case.records {
            command.env(RECORDS, records.to_string());
        }
        if prints {
            command.env(TRACE, "1");
        }
        let mut child = command.spawn().expect("the program can be started");
        let output = child.stdout.take().expect("the output is piped");
        let mut result = None;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match line.strip_prefix(RESULT) {
                Some(json) => result = serde_json::from_str(json).ok(),
                None if prints => println!("{line}"),
                None => {}
            }
        }
        let ended = child.wait_with_output().expect("a child that was started can be awaited");
        result.map_or_else(
            || Report::of_panic(&String::from_utf8_lossy(&ended.stderr)),
            |result| Report::read(&result),
        )
    }
}
