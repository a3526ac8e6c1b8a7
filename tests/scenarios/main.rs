//! The scenarios: both services as processes, on real servers. A scenario is an async function
//! with a sentence for a name; arguments filter by it, as in any test binary.

use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::{runtime::Runtime, time::timeout};

use length::Length;
use world::{LeftOut, World};

mod attacks;
mod auth;
mod bad_records;
mod bench;
mod browser;
mod client;
mod conformance;
mod delivery;
mod deployment;
mod duplicates;
mod expect;
mod faults;
mod hardened;
mod hostile;
mod keys;
mod layers;
mod length;
mod limits;
mod load;
mod metrics;
mod owners;
mod producers;
mod recovery;
mod resume;
mod revocation;
mod settings;
mod shutdown;
mod tls;
mod topologies;
mod traces;
mod world;

/// Scenarios wait far more than they work.
const AT_ONCE: usize = 6;
/// No scenario may take longer in a short run, or in a long one, whatever it waits for.
const LIMITS: (Duration, Duration) = (Duration::from_mins(5), Duration::from_mins(15));

/// A scenario that is given a world when there is one.
type Scenario = Box<dyn FnOnce(Arc<Runtime>, Arc<World>) -> Trial>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let runtime = Arc::new(Runtime::new().expect("the runtime starts"));
    let world = Arc::new(World::default());
    let trials = [
        layers::scenarios(),
        settings::scenarios(),
        deployment::scenarios(),
        delivery::scenarios(),
        duplicates::scenarios(),
        bad_records::scenarios(),
        hostile::scenarios(),
        hardened::scenarios(),
        auth::scenarios(),
        keys::scenarios(),
        revocation::scenarios(),
        tls::scenarios(),
        limits::scenarios(),
        load::scenarios(),
        bench::scenarios(),
        conformance::scenarios(),
        attacks::scenarios(),
        shutdown::scenarios(),
        recovery::scenarios(),
        resume::scenarios(),
        producers::scenarios(),
        metrics::scenarios(),
        owners::scenarios(),
        faults::scenarios(),
        topologies::scenarios(),
        traces::scenarios(),
        client::scenarios(),
        browser::scenarios(),
    ];
    let prepare = |scenario: Scenario| scenario(Arc::clone(&runtime), Arc::clone(&world));
    let trials = trials.into_iter().flatten().map(prepare).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let world = Arc::into_inner(world).expect("every scenario has ended");
    if let Err(problem) = runtime.block_on(world.end()) {
        eprintln!("the shared stack did not stop in order: {problem:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

/// Makes a scenario of a function; its path is the scenario's name.
fn scenario<Run, Running>(run: Run) -> Scenario
where
    Run: FnOnce(Arc<World>) -> Running + Send + 'static,
    Running: Future<Output = anyhow::Result<()>> + Send,
{
    let path = std::any::type_name::<Run>();
    let name = path.split_once("::").map_or(path, |(_, name)| name).to_owned();
    Box::new(move |runtime, world| {
        Trial::ignorable_test(name, move || {
            let limit = Length::of_run().pick(LIMITS.0, LIMITS.1);
            let result = runtime.block_on(async { timeout(limit, run(world)).await });
            match result.unwrap_or_else(|_| Err(anyhow::anyhow!("not done after {limit:?}"))) {
                Ok(()) => Ok(Completion::Completed),
                Err(problem) => match problem.downcast_ref::<LeftOut>() {
                    Some(reason) => Ok(Completion::ignored_with(reason)),
                    None => Err(Failed::from(format!("{problem:#}"))),
                },
            }
        })
    })
}
