//! One simulation, from its plan to its result.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    client::Client,
    faults::{DETECTION, HEALTHY, RECOVERY, System},
    gateway::Gateway,
    kafka::{Cluster, DeadLetterTopic},
    plan::Plan,
    redis::server::Server,
    simulation::{Sim, Simulation},
    worker::Worker,
    workload,
};

/// The result of a simulation.
#[derive(Debug)]
pub struct Outcome {
    /// A hash of everything that happened, and how many lines describe it.
    pub trace: (u64, u64),
    /// How long it took in simulated time.
    pub simulated: Duration,
    /// How often each interesting state was reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// The properties that did not hold.
    pub violations: Vec<String>,
}

/// Runs a simulation; prints its trace if `prints` is true.
///
/// # Panics
/// If a part of the simulated system panics.
#[must_use]
pub fn run(plan: Plan, prints: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be built");
    runtime.block_on(async {
        let sim = Simulation::new(plan, prints);
        simulate(&sim).await;
        Outcome {
            trace: sim.recorder.trace_hash(),
            simulated: sim.recorder.elapsed(),
            reached: sim.recorder.reached(),
            violations: sim.recorder.violations(),
        }
    })
}

async fn simulate(sim: &Sim) {
    sim.trace(format_args!("{:?}", sim.plan));
    let system = start(sim);
    let producer = tokio::spawn(workload::produce(sim.clone(), system.cluster.clone()));
    system.inject_faults().await;
    producer.await.expect("the producer does not panic");
    sleep_until(system.stalled_until.get() + DETECTION).await;
    await_rest(sim, &system, RECOVERY + sim.plan.owner_waits()).await;
    system.probe_at_rest();
    await_rest(sim, &system, HEALTHY).await;
    system.gateways.iter().for_each(Gateway::check_queues);
    sim.trace(format_args!("end"));
}

/// Waits until all work is done; a violation if that takes longer than `limit`.
async fn await_rest(sim: &Sim, system: &System, limit: Duration) {
    let begin = Instant::now();
    while let Some(unfinished) =
        system.unfinished().filter(|_| sim.recorder.violations().is_empty())
    {
        if begin.elapsed() > limit {
            sim.violate(format!("after {limit:?} without faults: {unfinished}"));
            return;
        }
        sleep(Duration::from_millis(250)).await;
    }
}

fn start(sim: &Sim) -> System {
    let plan = &sim.plan;
    let cluster = Cluster::new(sim, workload::partitions(sim));
    let (redis, dead_letters) = (Server::new(sim), DeadLetterTopic::new(sim));
    let worker = |number| Worker::start(number, sim, &cluster, &redis, &dead_letters);
    let workers = (0..plan.workers).map(worker).collect();
    let gateways: Vec<Gateway> =
        (0..plan.gateways).map(|number| Gateway::start(number, sim, &redis)).collect();
    let clients = plan.users * plan.clients_per_user;
    let user = |number: usize| workload::user(number % plan.users);
    let clients =
        (0..clients).map(|number| Client::start(number, user(number), sim, &gateways)).collect();
    let (sim, stalled_until) = (sim.clone(), Cell::new(Instant::now()));
    System { sim, cluster, dead_letters, redis, workers, gateways, clients, stalled_until }
}
