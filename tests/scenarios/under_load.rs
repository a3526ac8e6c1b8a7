//! A stack that processes a constant flow of events for a fleet of clients while a scenario breaks
//! parts of it.

use std::time::Duration;

use anyhow::ensure;
use futures_util::future::select_all;
use harness::{
    redis::{Redis, RedisTopology},
    stack::Stack,
};
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy, RecoveryLatency},
    event_generator::EventGenerator,
};

use crate::run_profile::seed;

/// Enough events that some are in flight at any time.
const EVENTS_PER_SECOND: u32 = 100;
/// Number of clients: few enough events for each that its stream keeps them all.
pub(crate) const CLIENTS: usize = 20;
/// Longest wait for delivery after a fault, with all time-outs that the fault causes.
pub(crate) const RECOVERY_TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) struct UnderLoad<R: RedisTopology = Redis> {
    pub(crate) stack: Stack<R>,
    pub(crate) clients: ClientFleet,
    pub(crate) events: EventGenerator,
    /// Determines which events are sent to which user, and what is random in the scenario.
    pub(crate) seed: u64,
    name: String,
}

impl<R: RedisTopology> UnderLoad<R> {
    /// Connects clients that stay connected, and starts the flow of events.
    pub(crate) async fn start(stack: Stack<R>, name: &str) -> anyhow::Result<Self> {
        Self::with_clients(stack, &[(CLIENTS, ReconnectPolicy::Never)], name).await
    }

    /// Connects so many clients of each kind and starts the flow of events.
    pub(crate) async fn with_clients(
        stack: Stack<R>,
        clients: &[(usize, ReconnectPolicy)],
        name: &str,
    ) -> anyhow::Result<Self> {
        let clients = ClientFleet::connect(&stack, clients).await?;
        let seed = seed(name);
        let events = EventGenerator::start(&stack, &clients, EVENTS_PER_SECOND, seed).await?;
        Ok(Self { stack, clients, events, seed, name: name.to_owned() })
    }

    /// Waits until each event that has been sent is delivered; prints and returns how late.
    pub(crate) async fn wait_for_recovery(&self, fault: &str) -> anyhow::Result<RecoveryLatency> {
        let latency = self.clients.wait_for_delivery(RECOVERY_TIMEOUT).await?;
        eprintln!("{}, {fault}: {latency}", self.name);
        Ok(latency)
    }

    /// Waits as [`UnderLoad::wait_for_recovery`] and restarts workers that exit with code 1, as an
    /// orchestrator would.
    pub(crate) async fn wait_for_recovery_with_restarts(
        &mut self,
        fault: &str,
    ) -> anyhow::Result<RecoveryLatency> {
        loop {
            let exits = self.stack.workers.iter().map(|worker| {
                // Longer than the recovery may take.
                Box::pin(worker.wait_for_exit(2 * RECOVERY_TIMEOUT))
            });
            let (status, exited) = tokio::select! {
                latency = self.wait_for_recovery(fault) => return latency,
                (status, exited, _) = select_all(exits) => (status?, exited),
            };
            let worker = &mut self.stack.workers[exited];
            ensure!(status.code() == Some(1), "{} exited with {status}", worker.name());
            eprintln!("{}, {fault}: restarting {}", self.name, worker.name());
            worker.start_again().await?;
        }
    }

    /// Stops the flow and checks that every client received every event once and in order.
    pub(crate) async fn check_delivery(&mut self) -> anyhow::Result<()> {
        self.events.stop_and_flush().await?;
        self.clients.check_delivery(&self.stack).await
    }

    /// Checks as [`UnderLoad::check_delivery`], but allows duplicates and incomplete resumes: after
    /// a failover Redis may lack what the old master had not replicated.
    pub(crate) async fn check_delivery_with_duplicates(&mut self) -> anyhow::Result<()> {
        self.events.stop_and_flush().await?;
        let mut violations = self.clients.violations(&self.stack).await?;
        violations.duplicated.clear();
        violations.ensure_none()
    }

    /// Disconnects the clients and shuts the stack down.
    pub(crate) async fn shut_down(self) -> anyhow::Result<()> {
        drop(self.clients);
        self.stack.shut_down_and_check_logs().await
    }

    /// Checks as [`UnderLoad::check_delivery`], then shuts the stack down.
    pub(crate) async fn finish(mut self) -> anyhow::Result<()> {
        self.check_delivery().await?;
        self.shut_down().await
    }
}
