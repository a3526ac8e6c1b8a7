//! Makes the faults of a plan happen, one after another at random times.

use std::{cell::Cell, ops::Range, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, sleep};

use crate::{
    client::{Badge, Client},
    gateway::Gateway,
    kafka::{Cluster, DeadLetterTopic},
    plan::Fault,
    redis::{faults::Connections, server::Server, store::Id},
    simulation::Sim,
    worker::Worker,
    workload,
};

/// Everything that runs.
pub(crate) struct System {
    pub(crate) sim: Sim,
    pub(crate) cluster: Cluster,
    pub(crate) dead_letters: DeadLetterTopic,
    pub(crate) redis: Server,
    pub(crate) workers: Vec<Worker>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) clients: Vec<Client>,
    /// When the last process or connection that was stalled goes on.
    pub(crate) stalled_until: Cell<Instant>,
}

impl System {
    /// Injects faults for the duration of the plan, then ends those that do not end by themselves.
    pub(crate) async fn inject_faults(&self) {
        let (sim, end) = (&self.sim, Instant::now() + self.sim.plan.duration);
        let faults: Vec<Fault> = sim.plan.faults.iter().copied().collect();
        // Drawn apart from everything else: a fault that is left out does not move the others.
        let mut random = StdRng::seed_from_u64(!sim.plan.seed);
        // Mean pause between two faults in milliseconds: some seeds have few faults, some many.
        let pause = random.random_range(50..4000);
        while Instant::now() < end {
            sleep(Duration::from_millis(random.random_range(0..2 * pause))).await;
            if faults.is_empty() {
                continue;
            }
            let fault = faults[random.random_range(0..faults.len())];
            if !sim.plan.without.contains(&fault) {
                self.apply(fault);
            }
        }
        sim.trace(format_args!("faults end"));
        self.redis.end_faults();
        self.cluster.end_faults();
        self.dead_letters.refuse_until(None);
    }

    /// Publishes to each user and revokes tokens once everything is healthy and at rest: a user who
    /// is not subscribed misses the event, although nothing else shows it.
    pub(crate) fn probe_at_rest(&self) {
        self.sim.trace(format_args!("the system is at rest"));
        workload::produce_for_each_user(&self.sim, &self.cluster);
        for client in self.clients.iter().filter(|_| self.sim.chance(30)) {
            self.redis.revoke(&client.token_id());
        }
        for client in self.clients.iter().take(self.sim.plan.users) {
            client.mark_read();
        }
    }

    fn apply(&self, fault: Fault) {
        let sim = &self.sim;
        let soon = || Instant::now() + sim.millis(100..8000);
        match fault {
            Fault::WorkerCrash => self.worker().crash(),
            Fault::WorkerRestart => self.worker().restart(),
            Fault::WorkerStall => self.worker().stall(self.stall(50..12_000)),
            Fault::Rebalance => self.cluster.rebalance(),
            Fault::CommitFailure => self.cluster.fail_commits_until(soon()),
            Fault::RecordsExpire => self.cluster.expire_records(),
            Fault::OffsetsExpire => {
                if let Some(partition) = self.cluster.expire_offsets() {
                    let has_watermark = self.redis.has_watermark(&partition);
                    sim.oracle.offset_expired(&partition, has_watermark);
                }
            }
            Fault::DeadLettersRefused => self.dead_letters.refuse_until(Some(soon())),
            Fault::GatewayCrash => self.gateway().crash(),
            Fault::GatewayRestart => self.gateway().restart(),
            Fault::ClientLost => self.client().lose_connection(),
            Fault::ClientSilent => self.client().silence(self.stall(100..60_000)),
            Fault::ClientSlow => self.client().stop_reading(self.stall(100..20_000)),
            Fault::ClientFlaps => self.client().flap(self.stall(5..200)),
            Fault::FilterChange => self.client().change_filter(),
            Fault::TokenRevoked => self.redis.revoke(&self.client().token_id()),
            redis => self.break_redis(redis),
        }
    }

    fn break_redis(&self, fault: Fault) {
        let (sim, redis) = (&self.sim, &self.redis);
        let duration = sim.millis(50..6000);
        match fault {
            Fault::PubsubLost => redis.break_connections(Connections::Subscribed, None),
            Fault::RedisSilent => {
                let which = [Connections::All, Connections::Subscribed, Connections::Other];
                let which = which[sim.index(3)];
                if sim.chance(50) {
                    redis.slow_down(which, sim.millis(20..900), Instant::now() + duration);
                } else {
                    redis.break_connections(which, Some(self.stall(10..15_000)));
                }
            }
            Fault::RedisRestart => {
                // Some outages are longer than the time limit of a resume.
                let downtime = if sim.chance(20) { sim.millis(10_000..20_000) } else { duration };
                redis.restart(downtime, sim.millis(0..2000));
            }
            Fault::RedisFailover => redis.fail_over(sim.index(8), false),
            Fault::RedisDemoted => redis.fail_over(sim.index(3), true),
            Fault::RedisFlush if sim.chance(50) => redis.flush_after(sim.index(12)),
            Fault::RedisFlush => redis.flush(),
            Fault::RedisEvicts => redis.evict(1 + sim.index(6)),
            Fault::RedisOutOfMemory => redis.refuse(OUT_OF_MEMORY, self.percent(), duration),
            Fault::RedisRefuses => {
                let errors = [
                    "READONLY You can't write against a read only replica.",
                    "MISCONF Redis is configured to save RDB snapshots",
                    "NOREPLICAS Not enough good replicas to write.",
                ];
                redis.refuse(errors[sim.index(3)], self.percent(), duration);
            }
            Fault::RedisForgetsScripts => redis.forget_scripts(),
            Fault::RedisLosesReplies => {
                redis.lose_replies(1 + sim.index(3), sim.chance(50), sim.chance(30));
            }
            Fault::RedisWrongTypes => redis.overwrite(),
            other => unreachable!("{other:?} is not a fault of Redis"),
        }
    }

    /// Draws how long something is stalled.
    fn stall(&self, millis: Range<u64>) -> Duration {
        let duration = self.sim.millis(millis);
        self.stalled_until.set(self.stalled_until.get().max(Instant::now() + duration));
        duration
    }

    fn percent(&self) -> u32 {
        [20, 60, 100][self.sim.index(3)]
    }

    fn worker(&self) -> &Worker {
        &self.workers[self.sim.index(self.workers.len())]
    }

    fn gateway(&self) -> &Gateway {
        &self.gateways[self.sim.index(self.gateways.len())]
    }

    fn client(&self) -> &Client {
        &self.clients[self.sim.index(self.clients.len())]
    }

    /// Returns a device that does not show what Redis says of its user.
    fn wrong_badge(&self) -> Option<String> {
        self.clients.iter().enumerate().find_map(|(number, client)| {
            let read = self.redis.read_state(client.user());
            let Some(badge) = client.badge() else {
                return Some(format!("client {number} does not know its read state"));
            };
            let Badge { up_to, unread, counts_all } = badge;
            // A device has counted what the history may have lost since, and with it the position.
            let may_be_lost = !read.exact || read.newest == Id::default();
            let is_right = unread == read.unread || (unread > read.unread && may_be_lost);
            let is_known = !self.sim.oracle.is_read_state_unknown(client.user());
            let is_wrong = up_to != read.up_to || (counts_all && !is_right);
            (is_known && is_wrong).then(|| format!("client {number}: {badge:?}, but {read:?}"))
        })
    }

    /// Returns the reason why the system is not at rest; `None` if everything is done.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let uncommitted = self.cluster.uncommitted();
        if let Some((partition, committed, end)) = uncommitted.first() {
            return Some(format!("{partition:?} is committed up to {committed} of {end}"));
        }
        if let Some(gateway) = self.gateways.iter().position(|gateway| !gateway.is_open()) {
            return Some(format!("gateway {gateway} does not accept connections"));
        }
        if let Some(client) = self.clients.iter().position(|client| !client.is_authenticated()) {
            return Some(format!("client {client} is not connected"));
        }
        let has_revoked_token = |client: &Client| self.redis.is_revoked(&client.token_id());
        if let Some(client) = self.clients.iter().position(has_revoked_token) {
            return Some(format!("client {client} is connected with a revoked token"));
        }
        if let Some((client, id)) = self.sim.oracle.undelivered().into_iter().next() {
            return Some(format!("client {client} has not received {id}"));
        }
        self.sim.oracle.not_restored().or_else(|| self.wrong_badge())
    }
}

const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Time limit for recovery after the last fault: the longest back-offs, an owner that stays
/// unknown, and a silent connection.
pub(crate) const RECOVERY: Duration = Duration::from_mins(3);

/// Time limit for giving up the connections that were stalled.
pub(crate) const DETECTION: Duration = Duration::from_secs(15);

/// Time limit for delivery and for the effect of a revocation while everything is healthy: the
/// longest back-off of a client that reconnects with another token, and 5 s.
pub(crate) const HEALTHY: Duration = Duration::from_secs(25);
