//! One simulation, from its plan to its result.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    client::Client,
    faults::{RECOVERY, System},
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
            trace: sim.trace_hash(),
            simulated: sim.elapsed(),
            reached: sim.reached(),
            violations: sim.violations(),
        }
    })
}

async fn simulate(sim: &Sim) {
    sim.trace(format_args!("{:?}", sim.plan));
    let system = start(sim);
    let producer = tokio::spawn(workload::produce(sim.clone(), system.cluster.clone()));
    system.inject_faults().await;
    producer.await.expect("the producer does not panic");
    let last_fault = Instant::now();
    while let Some(unfinished) = system.unfinished() {
        if last_fault.elapsed() > RECOVERY {
            sim.violate(format!("{RECOVERY:?} after the last fault: {unfinished}"));
            break;
        }
        if !sim.violations().is_empty() {
            break;
        }
        sleep(Duration::from_millis(250)).await;
    }
    sim.trace(format_args!("end"));
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
    System { sim: sim.clone(), cluster, dead_letters, redis, workers, gateways, clients }
}
