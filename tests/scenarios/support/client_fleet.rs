//! A fleet of WebSocket clients, one per user, that stays connected or reconnects while a scenario
//! injects faults. Its observations are checked by [`DeliveryChecker`].

mod fleet_client;
mod recovery_latency;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::ready,
    iter::repeat_n,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{anyhow, ensure};
use harness::{
    events::fresh_user,
    eventually,
    redis::RedisTopology,
    service::Service,
    stack::{Stack, TIMEOUT},
};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::delivery_checker::{DeliveryChecker, Violations};
use fleet_client::FleetClient;
pub use recovery_latency::RecoveryLatency;

/// Markers published in one Redis pipeline.
const MARKERS_PER_PIPELINE: usize = 500;

/// What a client does when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectPolicy {
    /// It stays disconnected, and the disconnect fails the scenario.
    Never,
    /// It reconnects to the next gateway and resumes from its last position.
    Resume,
    /// It also disconnects by itself after each notification, then resumes.
    ResumeAfterEach,
}

/// Connected clients, one per user.
#[derive(Debug)]
pub struct ClientFleet {
    /// The user ids, in the order in which the clients were started.
    pub users: Vec<String>,
    observations: Arc<Mutex<Observations>>,
    clients: JoinSet<()>,
}

/// What was sent to all users and what their clients have received.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    checker: DeliveryChecker,
    sent: HashSet<String>,
    /// When the broker acknowledged each event.
    acknowledged: HashMap<String, Instant>,
    delivered: HashMap<String, Instant>,
    /// Users whose client is connected and subscribed.
    connected: HashSet<String>,
    /// Users whose client has a WebSocket and waits for the `authenticated` frame.
    opening: HashSet<String>,
    /// Users whose client has received the latest marker.
    marked: HashSet<String>,
    /// Disconnects by close code; 0 stands for a connection without a close frame.
    close_codes: BTreeMap<u16, u64>,
    reconnect_delays_ms: Vec<u64>,
    incomplete_resumes: u64,
    /// Disconnects of clients with [`ReconnectPolicy::Never`].
    unexpected_disconnects: Vec<String>,
}

impl ClientFleet {
    /// Connects clients of fresh users, spread over the gateways of `stack`, and waits until all
    /// are subscribed. `groups` holds the number of clients for each policy.
    ///
    /// # Errors
    /// When a client is not subscribed in time.
    pub async fn connect(
        stack: &Stack<impl RedisTopology>,
        groups: &[(usize, ReconnectPolicy)],
    ) -> anyhow::Result<Self> {
        let gateways: Vec<_> = stack.gateways.iter().map(Service::address).collect();
        Self::connect_to(stack, &gateways, groups).await
    }

    /// The same as [`ClientFleet::connect`], through other addresses of the gateways.
    ///
    /// # Errors
    /// When a client is not subscribed in time.
    pub async fn connect_to(
        stack: &Stack<impl RedisTopology>,
        addresses: &[SocketAddr],
        groups: &[(usize, ReconnectPolicy)],
    ) -> anyhow::Result<Self> {
        let observations = Arc::default();
        let mut fleet = Self { users: Vec::new(), observations, clients: JoinSet::new() };
        for policy in groups.iter().flat_map(|(size, policy)| repeat_n(*policy, *size)) {
            let (number, user) = (fleet.users.len(), fresh_user());
            let endpoints = addresses.iter().map(|at| stack.connection_at(*at, &user));
            let client = FleetClient {
                user: user.clone(),
                policy,
                endpoints: endpoints.collect::<anyhow::Result<_>>()?,
                observations: Arc::clone(&fleet.observations),
                position: None,
            };
            fleet.clients.spawn(client.run(number));
            fleet.users.push(user);
        }
        fleet.wait_until_connected().await?;
        Ok(fleet)
    }

    /// Waits until all clients are connected and subscribed.
    ///
    /// # Errors
    /// When a client is not in time.
    pub async fn wait_until_connected(&self) -> anyhow::Result<()> {
        eventually("all clients are connected", TIMEOUT * 3, async || {
            let seen = self.observations();
            let (connected, opening) = (seen.connected.len(), seen.opening.len());
            let all = self.users.len();
            ensure!(connected == all, "{connected} of {all} are, {opening} wait to be subscribed");
            Ok(())
        })
        .await
    }

    /// Waits until every event sent so far has been delivered, and returns how long the ones took
    /// that were outstanding at the call.
    ///
    /// # Errors
    /// When an event is not delivered within `limit`.
    pub async fn wait_for_delivery(&self, limit: Duration) -> anyhow::Result<RecoveryLatency> {
        let fault_ended = Instant::now();
        let mut outstanding: HashSet<String> = {
            let seen = self.observations();
            seen.sent.iter().filter(|id| !seen.delivered.contains_key(*id)).cloned().collect()
        };
        let mut latency = RecoveryLatency::default();
        eventually("outstanding events are delivered", limit, || {
            let seen = self.observations();
            outstanding.retain(|id| {
                let Some(&delivered) = seen.delivered.get(id) else { return true };
                latency.record(fault_ended, seen.acknowledged.get(id).copied(), delivered);
                false
            });
            let missing = outstanding.len();
            let is_unacknowledged = |id: &&String| !seen.acknowledged.contains_key(*id);
            let unacknowledged = outstanding.iter().filter(is_unacknowledged).count();
            ready(if missing == 0 {
                Ok(())
            } else {
                Err(anyhow!("{missing} are missing, {unacknowledged} of them without broker ack"))
            })
        })
        .await?;
        Ok(latency)
    }

    /// Checks that each user got every event once and in order, that every resume was complete,
    /// and that no client with [`ReconnectPolicy::Never`] was disconnected.
    ///
    /// # Errors
    /// Names the violations.
    pub async fn check_delivery(&self, stack: &Stack<impl RedisTopology>) -> anyhow::Result<()> {
        self.violations(stack).await?.ensure_none()?;
        let incomplete = self.observations().incomplete_resumes;
        ensure!(incomplete == 0, "{incomplete} incomplete resumes");
        Ok(())
    }

    /// Checks that no client with [`ReconnectPolicy::Never`] was disconnected, and returns which
    /// events were lost, duplicated, misdelivered or reordered.
    ///
    /// # Errors
    /// Names the disconnects.
    pub async fn violations(
        &self,
        stack: &Stack<impl RedisTopology>,
    ) -> anyhow::Result<Violations> {
        let delivery = self.wait_for_delivery(TIMEOUT * 3).await;
        self.ensure_no_disconnects()?;
        self.wait_for_marker(stack).await?;
        self.ensure_no_disconnects()?;
        let violations = self.observations().checker.violations();
        // The violations name the events that are missing, the error only counts them.
        if violations.missing.is_empty() {
            delivery?;
        }
        Ok(violations)
    }

    fn ensure_no_disconnects(&self) -> anyhow::Result<()> {
        let disconnects = self.observations().unexpected_disconnects.join("; ");
        ensure!(disconnects.is_empty(), "unexpected disconnects: {disconnects}");
        Ok(())
    }

    /// Waits until each client has received a marker, and so everything published before it.
    async fn wait_for_marker(&self, stack: &Stack<impl RedisTopology>) -> anyhow::Result<()> {
        self.observations().marked.clear();
        let marker = json!({"event": "marker"}).to_string();
        let redis = stack.redis.connection_for("").await?;
        eventually("every client receives a marker", TIMEOUT, async || {
            let missing: Vec<&String> = {
                let seen = self.observations();
                self.users.iter().filter(|user| !seen.marked.contains(*user)).collect()
            };
            for users in missing.chunks(MARKERS_PER_PIPELINE) {
                let mut pipeline = redis::pipe();
                for user in users {
                    pipeline.publish(format!("ws:{user}"), &marker);
                }
                pipeline.exec_async(&mut redis.clone()).await?;
            }
            ensure!(missing.is_empty(), "{} clients have not", missing.len());
            Ok(())
        })
        .await
    }

    /// Returns the number of disconnects by close code; 0 stands for no close frame.
    #[must_use]
    pub fn close_codes(&self) -> BTreeMap<u16, u64> {
        self.observations().close_codes.clone()
    }

    /// Returns for each client the longest time from the broker's acknowledgement of an event to
    /// its delivery, shortest first.
    #[must_use]
    pub fn longest_delays(&self) -> Vec<Duration> {
        let seen = self.observations();
        let delay = |id: &String| {
            let (acknowledged, delivered) = (seen.acknowledged.get(id)?, seen.delivered.get(id)?);
            Some(delivered.saturating_duration_since(*acknowledged))
        };
        let sent = seen.checker.sent();
        let longest = |(_, ids): &(String, Vec<String>)| ids.iter().filter_map(delay).max();
        let mut delays: Vec<Duration> = sent.iter().filter_map(longest).collect();
        delays.sort_unstable();
        delays
    }

    /// Returns the ids of the events that were sent to each user.
    #[must_use]
    pub fn sent(&self) -> Vec<(String, Vec<String>)> {
        self.observations().checker.sent()
    }

    /// Returns every `reconnect_after_ms` that a gateway has sent.
    #[must_use]
    pub fn reconnect_delays_ms(&self) -> Vec<u64> {
        self.observations().reconnect_delays_ms.clone()
    }

    pub(crate) fn shared_observations(&self) -> Arc<Mutex<Observations>> {
        Arc::clone(&self.observations)
    }

    fn observations(&self) -> MutexGuard<'_, Observations> {
        lock(&self.observations)
    }
}

impl Observations {
    pub(crate) fn record_sent(&mut self, user: &str, event_id: &str) {
        self.checker.record_sent(user, event_id);
        self.sent.insert(event_id.to_owned());
    }

    pub(crate) fn record_acknowledged(&mut self, event_id: &str) {
        self.acknowledged.insert(event_id.to_owned(), Instant::now());
    }
}

pub(crate) fn lock(observations: &Mutex<Observations>) -> MutexGuard<'_, Observations> {
    // A client task that panicked has already failed its scenario.
    observations.lock().unwrap_or_else(PoisonError::into_inner)
}
