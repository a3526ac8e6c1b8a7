//! A member of the group, as the worker's loop sees it.

mod message;
mod rewind;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ingest_worker::{
    notification::publisher::TransientError,
    worker::pipeline::{InFlightRecord, MAX_BATCH, Offsets, Partition, RecordSource, RewindTo},
};
use rdkafka::message::OwnedMessage;
use tokio::time::{Instant, sleep};

use super::{
    cluster::Cluster,
    group::{Changes, MemberId},
};
use crate::{process::Process, simulation::trace};

/// How long a member may be silent.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// How often the client commits the stored offsets.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// A member of the group. Dropping it is a crash: it stays in the group until its session ends.
pub(crate) struct Source {
    cluster: Cluster,
    member: Arc<Member>,
    offsets: Mutex<Offsets>,
    /// Where each assigned partition is read next.
    positions: Mutex<BTreeMap<Partition, i64>>,
    paused: Mutex<BTreeSet<Partition>>,
    assignment_changed: AtomicBool,
}

/// What the source shares with the client's own thread and with its process.
pub(crate) struct Member {
    id: Mutex<MemberId>,
    stored: Mutex<BTreeMap<Partition, i64>>,
    instance: Option<String>,
}

impl Member {
    fn id(&self) -> MemberId {
        *self.id.lock().expect("not poisoned")
    }

    fn stored(&self) -> MutexGuard<'_, BTreeMap<Partition, i64>> {
        self.stored.lock().expect("not poisoned")
    }

    /// Commits what is stored and leaves the group.
    pub(crate) fn leave(&self, cluster: &Cluster) {
        cluster.commit(self.id(), &mut self.stored());
        cluster.change(|state| state.group.remove(self.id()));
    }
}

impl Source {
    /// Joins the group; `instance` is the name of a static member.
    pub(crate) fn join(cluster: &Cluster, process: &Process, instance: Option<String>) -> Self {
        let (id, took_over) = cluster.change(|state| state.group.join(instance.clone()));
        trace!(cluster.sim, "kafka member {id} joins");
        if took_over {
            cluster.sim.reach("a static member came back");
        }
        let member = Arc::new(Member { id: Mutex::new(id), stored: Mutex::default(), instance });
        tokio::spawn(client_thread(cluster.clone(), Arc::clone(&member), process.clone()));
        Self {
            cluster: cluster.clone(),
            member,
            offsets: Mutex::default(),
            positions: Mutex::default(),
            paused: Mutex::default(),
            assignment_changed: AtomicBool::new(false),
        }
    }

    pub(crate) fn member(&self) -> Arc<Member> {
        Arc::clone(&self.member)
    }

    /// Takes part in a rebalance, as the client does while it is polled.
    fn rebalance(&self) {
        let id = self.member.id();
        let changes = self.cluster.state().group.poll(id);
        let Some(changes) = changes else { return self.rejoin() };
        if changes.revoked.is_empty() && changes.assigned.is_empty() {
            return;
        }
        let sim = &self.cluster.sim;
        let Changes { revoked, assigned } = changes;
        trace!(sim, "kafka member {id}: revoked {revoked:?}, assigned {assigned:?}");
        if !revoked.is_empty() {
            // Stored offsets are committed before the next owner starts.
            self.cluster.commit(id, &mut self.member.stored());
        }
        if revoked.iter().any(|partition| self.offsets().is_in_flight(partition)) {
            sim.reach("a partition was revoked with records in flight");
        }
        for partition in &revoked {
            self.revoke(partition);
        }
        for partition in assigned {
            let position = self.start_position(&partition);
            self.offsets().assign(&partition.0, partition.1);
            if let Some(position) = position {
                self.offsets().set_start(&partition.0, partition.1, position);
            }
            let position = position.unwrap_or(0);
            self.positions().insert(partition, position);
        }
        self.assignment_changed.store(true, Ordering::Relaxed);
        // The other members may continue.
        self.cluster.change(|_| ());
    }

    /// Joins again after the coordinator has evicted this member: everything is lost.
    fn rejoin(&self) {
        self.member.stored().clear();
        let owned: Vec<Partition> = self.positions().keys().cloned().collect();
        for partition in &owned {
            self.revoke(partition);
        }
        let (id, _) = self.cluster.change(|state| state.group.join(self.member.instance.clone()));
        trace!(self.cluster.sim, "kafka member {} was evicted and is now {id}", self.member.id());
        self.cluster.sim.reach("a member that was evicted came back");
        *self.member.id.lock().expect("not poisoned") = id;
        self.assignment_changed.store(true, Ordering::Relaxed);
    }

    fn revoke(&self, partition: &Partition) {
        self.offsets().revoke(&partition.0, partition.1);
        self.positions().remove(partition);
        self.paused.lock().expect("not poisoned").remove(partition);
        self.member.stored().remove(partition);
    }

    fn start_position(&self, partition: &Partition) -> Option<i64> {
        self.cluster.state().committed.get(partition).copied()
    }

    /// Reads up to `limit` records that are ready.
    fn take(&self, limit: usize) -> Vec<InFlightRecord<OwnedMessage>> {
        let (state, mut records) = (self.cluster.state(), Vec::new());
        let paused = self.paused.lock().expect("not poisoned").clone();
        let key_bytes = self.cluster.sim.plan.key_bytes;
        for (partition, position) in self.positions().iter_mut() {
            let Some(log) = state.logs.get(partition) else { continue };
            if *position < log.begin && !paused.contains(partition) {
                // As `auto.offset.reset=earliest` does.
                self.offsets().reset(&partition.0, partition.1, *position);
                *position = log.begin;
                self.cluster.sim.reach("a position was out of range");
            }
            while records.len() < limit && !paused.contains(partition) {
                let Some(value) = log.value(*position) else { break };
                let admitted = self.offsets().read(&partition.0, partition.1, *position);
                let message = message::new(partition, *position, value.clone(), key_bytes);
                records.extend(admitted.map(|admitted| InFlightRecord::new(message, &admitted)));
                *position += 1;
            }
        }
        records
    }

    /// Checks that the worker does not read more than it can keep in memory.
    fn check_unfinished(&self) {
        let (sim, unfinished) = (&self.cluster.sim, self.offsets().unfinished());
        let limit = sim.plan.max_unfinished(self.positions().len());
        if limit.is_some_and(|limit| unfinished > limit) {
            sim.violate(format!("a worker has {unfinished} records in memory"));
        }
    }

    fn positions(&self) -> MutexGuard<'_, BTreeMap<Partition, i64>> {
        self.positions.lock().expect("not poisoned")
    }
}

/// Commits, and ends the session of a process that does not run.
async fn client_thread(cluster: Cluster, member: Arc<Member>, process: Process) {
    let mut silent_since = None;
    let mut next_commit = Instant::now() + COMMIT_INTERVAL;
    loop {
        sleep(Duration::from_millis(250)).await;
        if process.runs() {
            silent_since = None;
            if next_commit <= Instant::now() {
                next_commit = Instant::now() + COMMIT_INTERVAL;
                cluster.commit(member.id(), &mut member.stored());
            }
            continue;
        }
        let since = *silent_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SESSION_TIMEOUT && cluster.state().group.has(member.id()) {
            trace!(cluster.sim, "kafka evicts member {}", member.id());
            cluster.sim.reach("a member was evicted");
            cluster.change(|state| state.group.remove(member.id()));
        }
        if process.has_ended() && !cluster.state().group.has(member.id()) {
            return;
        }
    }
}

impl RecordSource for Source {
    type Record = OwnedMessage;

    async fn read(&mut self) -> Vec<InFlightRecord<OwnedMessage>> {
        let cluster = self.cluster.clone();
        loop {
            let changed = cluster.changed();
            // Records may come before and after a rebalance in the same poll.
            let sim = &cluster.sim;
            let (before, batch) =
                (if sim.chance(50) { sim.index(4) } else { MAX_BATCH }, sim.plan.batch);
            let mut records = self.take(before.min(batch));
            self.rebalance();
            records.extend(self.take(batch - records.len()));
            self.check_unfinished();
            if !records.is_empty() || self.assignment_changed.load(Ordering::Relaxed) {
                return records;
            }
            changed.await;
        }
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().expect("not poisoned")
    }

    fn take_assignment_changed(&self) -> bool {
        self.assignment_changed.swap(false, Ordering::Relaxed)
    }

    fn set_paused(&self, partitions: &BTreeSet<Partition>, paused: bool) {
        let mut all = self.paused.lock().expect("not poisoned");
        for partition in partitions {
            if paused {
                self.cluster.sim.reach("a partition was paused");
                if self.cluster.sim.plan.key_bytes > 0 {
                    self.cluster.sim.reach("a partition was paused for the size of its records");
                }
                all.insert(partition.clone());
            } else {
                all.remove(partition);
            }
        }
        drop(all);
        self.cluster.change(|_| ());
    }

    fn store_offsets(&self) {
        let positions = self.positions();
        for (topic, partition, next) in self.offsets().take_committable() {
            let partition = (topic.to_owned(), partition);
            if positions.contains_key(&partition) {
                self.member.stored().insert(partition, next);
            }
        }
    }

    async fn rewind(
        &mut self,
        partitions: &[(Partition, RewindTo)],
    ) -> Vec<Result<Option<i64>, TransientError>> {
        partitions.iter().map(|(partition, to)| Ok(self.rewind_partition(partition, *to))).collect()
    }

    fn fatal_error(&self) -> Option<String> {
        None
    }
}
