//! Runs scenarios as tests of libtest-mimic and reports the slowest and the skipped ones.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::{runtime::Runtime, time::timeout};

use crate::{context::Context, requirements::Skipped, run_profile::RunProfile};

/// Default of `--test-threads`, on two cores: scenarios mostly wait for servers and time-outs.
const CONCURRENT_SCENARIOS: usize = 6;
/// Longest time for one scenario in `make test` and in `make chaos`.
const TIME_LIMITS: (Duration, Duration) = (Duration::from_mins(5), Duration::from_mins(15));
/// How many of the slowest scenarios are listed after a run.
const SLOWEST: usize = 10;

/// Declares `scenarios()`, which lists the scenarios of the module: async functions that take the
/// [`Context`]. A scenario is named after the path of its function.
macro_rules! scenarios {
    ($($scenario:expr),+ $(,)?) => {
        pub(crate) fn scenarios() -> Vec<$crate::runner::Scenario> {
            vec![$($crate::runner::Scenario::new($scenario)),+]
        }
    };
}
pub(crate) use scenarios;

/// A named test that runs on the shared runtime and context.
pub(crate) struct Scenario {
    name: String,
    run: Box<Run>,
}

type Run = dyn FnOnce(&Runtime, &Context) -> anyhow::Result<()> + Send;

impl Scenario {
    pub(crate) fn new<F>(run: F) -> Self
    where
        F: AsyncFnOnce(&Context) -> anyhow::Result<()> + Send + 'static,
    {
        let path = std::any::type_name::<F>();
        let name = path.split_once("::").map_or(path, |(_, name)| name).to_owned();
        let limit = RunProfile::current().pick(TIME_LIMITS.0, TIME_LIMITS.1);
        let run = move |runtime: &Runtime, context: &Context| {
            let result = runtime.block_on(async { timeout(limit, run(context)).await });
            result.unwrap_or_else(|_| Err(anyhow!("still running after {limit:?}")))
        };
        Self { name, run: Box::new(run) }
    }

    fn into_trial(self, runner: Arc<Runner>) -> Trial {
        let name = self.name.clone();
        Trial::ignorable_test(name, move || runner.complete(self))
    }
}

struct Runner {
    runtime: Runtime,
    context: Context,
    report: Mutex<Report>,
}

#[derive(Default)]
struct Report {
    durations: Vec<(Duration, String)>,
    skipped: Vec<String>,
}

impl Runner {
    fn complete(&self, Scenario { name, run }: Scenario) -> Result<Completion, Failed> {
        let started = Instant::now();
        let result = run(&self.runtime, &self.context);
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.durations.push((started.elapsed(), name.clone()));
        let Err(error) = result else { return Ok(Completion::Completed) };
        let Some(reason) = error.downcast_ref::<Skipped>() else {
            return Err(Failed::from(format!("{error:#}")));
        };
        report.skipped.push(format!("{name}: {reason}"));
        Ok(Completion::ignored_with(reason))
    }
}

impl Report {
    fn print(mut self) {
        self.durations.sort_by(|a, b| b.cmp(a));
        println!("slowest scenarios:");
        for (duration, name) in self.durations.iter().take(SLOWEST) {
            println!("{:>6.1} s  {name}", duration.as_secs_f64());
        }
        for skipped in self.skipped {
            println!("skipped: {skipped}");
        }
    }
}

/// Runs the scenarios that the arguments select and stops what they shared.
pub(crate) fn run(scenarios: Vec<Scenario>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(CONCURRENT_SCENARIOS));
    let runtime = Runtime::new().expect("a tokio runtime starts");
    let (context, report) = (Context::default(), Mutex::default());
    let runner = Arc::new(Runner { runtime, context, report });
    let trials = scenarios.into_iter().map(|scenario| scenario.into_trial(Arc::clone(&runner)));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let runner = Arc::into_inner(runner).expect("every scenario has ended");
    if !arguments.list {
        runner.report.into_inner().unwrap_or_else(PoisonError::into_inner).print();
    }
    if let Err(error) = runner.runtime.block_on(runner.context.shut_down()) {
        eprintln!("the shared stack did not shut down cleanly: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
