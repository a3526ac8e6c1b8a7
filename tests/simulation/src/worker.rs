//! A worker: the real pipeline over the simulated cluster and Redis, restarted when it ends.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ingest_worker::{
    config::{self, Config},
    worker::pipeline::{Metrics, Pipeline},
};
use prometheus::Registry;
use shared::admin::Readiness;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    kafka::{Cluster, DeadLetterTopic, Source},
    process::Process,
    redis::server::{Host, Server},
    simulation::{Sim, trace},
};

/// How long a graceful shutdown may take.
const GRACE: Duration = Duration::from_secs(20);

/// A worker that is started again whenever it ends. Clones share it.
#[derive(Clone)]
pub(crate) struct Worker {
    number: usize,
    sim: Sim,
    cluster: Cluster,
    redis: Server,
    dead_letters: DeadLetterTopic,
    present: Arc<Mutex<(Process, CancellationToken)>>,
}

impl Worker {
    pub(crate) fn start(
        number: usize,
        sim: &Sim,
        cluster: &Cluster,
        redis: &Server,
        dead_letters: &DeadLetterTopic,
    ) -> Self {
        let worker = Self {
            number,
            sim: sim.clone(),
            cluster: cluster.clone(),
            redis: redis.clone(),
            dead_letters: dead_letters.clone(),
            present: Arc::new(Mutex::new((Process::new(), CancellationToken::new()))),
        };
        tokio::spawn(worker.clone().run());
        worker
    }

    /// Kills the process.
    pub(crate) fn crash(&self) {
        trace!(self.sim, "worker {} crashes", self.number);
        self.sim.reach("a worker crashed");
        self.present().0.end();
    }

    /// Shuts the process down gracefully.
    pub(crate) fn restart(&self) {
        trace!(self.sim, "worker {} is restarted", self.number);
        self.sim.reach("a worker was restarted");
        self.present().1.cancel();
    }

    /// Suspends the process, in some cases for long enough to be removed from the group.
    pub(crate) fn stall(&self, duration: Duration) {
        trace!(self.sim, "worker {} stalls for {duration:?}", self.number);
        let process = self.present().0.clone();
        process.set_stalled(true);
        tokio::spawn(async move {
            sleep(duration).await;
            process.set_stalled(false);
        });
    }

    async fn run(self) {
        let config = config(&self.sim);
        loop {
            let (process, stop) = (Process::new(), CancellationToken::new());
            *self.present.lock().expect("not poisoned") = (process.clone(), stop.clone());
            trace!(self.sim, "worker {} starts", self.number);
            let service = self.serve(&config, &process, &stop);
            if process.run(Box::pin(service)).await.is_none() {
                self.redis.cut_host(Host::Worker(self.number));
            }
            process.end();
            sleep(self.sim.millis(1..5000)).await;
        }
    }

    async fn serve(&self, config: &Config, process: &Process, stop: &CancellationToken) {
        let redis = self.redis.client(Host::Worker(self.number));
        let registry = Registry::new();
        let metrics = Metrics::new(&registry);
        let pipeline = Pipeline::new(config, redis, metrics, Readiness::default(), None);
        let instance = self.sim.plan.static_members.then(|| format!("worker-{}", self.number));
        let source = Source::join(&self.cluster, process, instance);
        let member = source.member();
        let mut consume = pipeline.consume(source, &self.dead_letters);
        consume.run(stop).await.expect("the source does not fail");
        consume.drain(Instant::now() + GRACE).await;
        member.leave(&self.cluster);
        self.check_accounting(&registry);
    }

    /// Checks that every record that was read is counted as finished, revoked or in flight.
    fn check_accounting(&self, registry: &Registry) {
        let families = registry.gather();
        let sum = |name: &str| -> f64 {
            let families = families.iter().filter(|family| family.name() == name);
            let values = families.flat_map(|family| family.get_metric().iter());
            values.map(|m| m.get_counter().get_value() + m.get_gauge().get_value()).sum()
        };
        let consumed = sum("ingest_worker_consumed_records_total");
        let ends = sum("ingest_worker_outcomes_total")
            + sum("ingest_worker_revoked_records_total")
            + sum("ingest_worker_in_flight_records");
        if (consumed - ends).abs() > 0.5 {
            self.sim
                .violate(format!("{consumed} records read, {ends} finished, revoked or in flight"));
        }
    }

    fn present(&self) -> (Process, CancellationToken) {
        self.present.lock().expect("not poisoned").clone()
    }
}

fn config(sim: &Sim) -> Config {
    let plan = &sim.plan;
    let arguments = [
        ("owner-wait", format!("{}ms", plan.owner_wait.as_millis())),
        ("owner-wait-limit", plan.max_parked.to_string()),
        ("history-max-len", plan.history_length.to_string()),
        ("history-ttl", format!("{}s", plan.history_ttl.as_secs())),
    ];
    let arguments = arguments.into_iter().map(|(name, value)| format!("--{name}={value}"));
    let arguments = std::iter::once("ingest-worker".to_owned()).chain(arguments);
    let read = shared::config::read::<Config, _, _>(config::command(), arguments);
    read.expect("the settings are complete").0
}
