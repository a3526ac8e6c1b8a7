//! The faults of the server.

use std::time::Duration;

use ingest_worker::worker::pipeline::Partition;
use tokio::time::Instant;

use super::{
    current_faults::Faults,
    database::Write,
    server::{Connection, Node, Server},
    store::{Store, Value},
};
use crate::simulation::trace;

/// The connections that a fault affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    All,
    Subscribed,
    Other,
}

impl Connections {
    fn selects(self, connection: &Connection) -> bool {
        let is_subscribed = !connection.channels.is_empty();
        match self {
            Self::All => true,
            Self::Subscribed => is_subscribed,
            Self::Other => !is_subscribed,
        }
    }
}

impl Server {
    /// Makes a replica the master that lacks the last `lost` writes. Connections to the former
    /// master are cut, unless it stays reachable as a replica behind an unchanged address.
    pub(crate) fn fail_over(&self, lost: usize, keep_connections: bool) {
        let (mut state, sim) = (self.state(), &self.sim);
        let before = state.snapshots.len();
        let mut store = state.master().store.clone();
        if lost > 0 && before >= lost {
            let (replica, published) = state.snapshots[before - lost].clone();
            store = replica;
            if sim.oracle.lost_after(published) > 0 {
                sim.reach("a failover lost notifications");
            }
        }
        sim.oracle.all_owners_lost();
        state.snapshots.clear();
        state.nodes.push(Node { store, has_script: false });
        trace!(sim, "redis fails over, {lost} writes lost, keeps connections: {keep_connections}");
        if keep_connections {
            sim.reach("connections stayed on a demoted master");
        } else {
            state.connections.values().for_each(|connection| connection.link.cut(false));
        }
    }

    /// Deletes every key.
    pub(crate) fn flush(&self) {
        let mut state = self.state();
        trace!(self.sim, "redis is flushed");
        self.sim.reach("Redis was flushed");
        state.snapshots.clear();
        state.master().store.clear();
        self.sim.oracle.all_keys_lost();
    }

    /// Deletes every key when so many more scripts have run, which may be in the middle of a pipeline.
    pub(crate) fn flush_after(&self, scripts: usize) {
        self.state().faults.scripts_until_flush = Some(scripts);
    }

    /// Deletes every key if as many scripts have run as were to run before.
    pub(super) fn flush_if_due(&self) {
        let mut state = self.state();
        let left = state.faults.scripts_until_flush.take();
        state.faults.scripts_until_flush = left.and_then(|left| left.checked_sub(1));
        drop(state);
        if left == Some(0) {
            self.flush();
        }
    }

    /// Returns whether a watermark says how far a partition is done.
    pub(crate) fn has_watermark(&self, (topic, partition): &Partition) -> bool {
        let source = format!("/{topic}/{partition}/");
        let mut state = self.state();
        state.master().store.hash_fields().any(|field| format!("{field}/").contains(&source))
    }

    /// Deletes up to `count` random keys.
    pub(crate) fn evict(&self, count: usize) {
        let mut state = self.state();
        for _ in 0..count {
            if let Some(key) = self.random_key(&state.master().store) {
                trace!(self.sim, "redis evicts {key}");
                self.sim.reach("a key was evicted");
                state.master().store.delete(&key);
                self.sim.oracle.key_lost(&key);
            }
        }
    }

    /// Replaces a random key by one of a type that no service writes.
    pub(crate) fn overwrite(&self) {
        let mut state = self.state();
        if let Some(key) = self.random_key(&state.master().store) {
            trace!(self.sim, "redis key {key} gets another type");
            self.sim.reach("a key had the wrong type");
            state.master().store.set(&key, Value::Set, None, false);
            self.sim.oracle.key_lost(&key);
        }
    }

    /// Returns a random key; half of the time not a claim, of which there are many more.
    fn random_key(&self, store: &Store) -> Option<String> {
        let any = self.sim.chance(50);
        let keys: Vec<_> = store.keys().filter(|key| any || !key.starts_with("ws:seen:")).collect();
        keys.get(self.sim.index(keys.len())).map(|key| (*key).clone())
    }

    /// Refuses `percent` of the writes for a while.
    pub(crate) fn refuse(&self, error: &'static str, percent: u32, duration: Duration) {
        let write = if error.starts_with("OOM") { Write::AddsMemory } else { Write::Other };
        trace!(self.sim, "redis refuses {percent} % of writes: {error}");
        let until = Instant::now() + duration;
        self.state().faults.refusal = Some((write, percent, error, until));
    }

    /// Restarts: cuts all connections, is unavailable, then loads.
    pub(crate) fn restart(&self, downtime: Duration, loading: Duration) {
        let mut state = self.state();
        trace!(self.sim, "redis restarts");
        self.sim.reach("Redis restarted");
        state.connections.values().for_each(|connection| connection.link.cut(false));
        state.faults.down_until = Some(Instant::now() + downtime);
        state.faults.loading_until = Some(Instant::now() + downtime + loading);
        state.master().has_script = false;
    }

    pub(crate) fn forget_scripts(&self) {
        trace!(self.sim, "redis forgets its scripts");
        self.sim.reach("Redis forgot its scripts");
        self.state().master().has_script = false;
    }

    /// Loses the replies to the next writes, or reads; half of each arrives if `torn`.
    pub(crate) fn lose_replies(&self, count: usize, torn: bool, of_reads: bool) {
        let mut state = self.state();
        let faults = &mut state.faults;
        let lost = if of_reads { &mut faults.lost_reads } else { &mut faults.lost_replies };
        lost.extend(std::iter::repeat_n(torn, count));
    }

    /// Delays what is sent on connections until a time.
    pub(crate) fn slow_down(&self, which: Connections, delay: Duration, until: Instant) {
        let state = self.state();
        trace!(self.sim, "redis connections {which:?}: {delay:?} slower");
        self.sim.reach("replies of Redis were slow");
        for connection in state.connections.values().filter(|c| which.selects(c)) {
            connection.link.slow_down(delay, until);
        }
    }

    /// Cuts connections of all hosts, or makes them silent until a time.
    pub(crate) fn break_connections(&self, which: Connections, silent_for: Option<Duration>) {
        let state = self.state();
        trace!(self.sim, "redis connections {which:?}: silent for {silent_for:?}");
        for connection in state.connections.values() {
            if !which.selects(connection) {
                continue;
            }
            if !connection.channels.is_empty() {
                self.sim.reach("a subscribed connection was cut or stalled");
            }
            match silent_for {
                Some(duration) => connection.link.stall(Instant::now() + duration),
                None => connection.link.cut(self.sim.chance(50)),
            }
        }
    }

    /// Ends all faults that do not end by themselves.
    pub(crate) fn end_faults(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
    }
}
