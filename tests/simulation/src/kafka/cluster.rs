//! The logs of all partitions, the committed offsets of the group, and the faults of the cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use ingest_worker::worker::pipeline::Partition;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use super::group::{Group, MemberId};
use crate::simulation::{Sim, trace};

/// A simulated cluster. Clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) sim: Sim,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

pub(super) struct State {
    pub(super) logs: BTreeMap<Partition, Log>,
    pub(super) committed: BTreeMap<Partition, i64>,
    pub(super) group: Group,
    /// Commits fail before this time.
    commits_fail_until: Option<Instant>,
}

/// The records of one partition.
#[derive(Default)]
pub(super) struct Log {
    /// The offset of the first record that retention has left.
    pub(super) begin: i64,
    values: Vec<Vec<u8>>,
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        i64::try_from(self.values.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn value(&self, offset: i64) -> Option<&Vec<u8>> {
        let index = usize::try_from(offset).ok().filter(|_| offset >= self.begin)?;
        self.values.get(index)
    }
}

impl Cluster {
    pub(crate) fn new(sim: &Sim, partitions: impl IntoIterator<Item = Partition>) -> Self {
        let logs: BTreeMap<_, _> =
            partitions.into_iter().map(|partition| (partition, Log::default())).collect();
        let group = Group::new(sim.plan.assignment, logs.keys().cloned().collect());
        let state = State { logs, committed: BTreeMap::new(), group, commits_fail_until: None };
        let shared = Shared { state: Mutex::new(state), changed: Notify::new() };
        Self { sim: sim.clone(), shared: Arc::new(shared) }
    }

    /// Appends a record; returns its offset.
    pub(crate) fn produce(&self, partition: &Partition, value: Vec<u8>) -> i64 {
        let mut state = self.state();
        let log = state.logs.get_mut(partition).expect("the workload knows the partitions");
        log.values.push(value);
        let offset = log.end() - 1;
        drop(state);
        self.notify();
        offset
    }

    /// Returns the partitions with uncommitted records: committed offset, and end.
    pub(crate) fn uncommitted(&self) -> Vec<(Partition, i64, i64)> {
        let state = self.state();
        let position = |(partition, log): (&Partition, &Log)| {
            let committed = state.committed.get(partition).copied().unwrap_or(0);
            (committed.max(log.begin) < log.end())
                .then(|| (partition.clone(), committed, log.end()))
        };
        state.logs.iter().filter_map(position).collect()
    }

    /// Commits offsets of a member, unless it is no longer in the group.
    pub(super) fn commit(&self, member: MemberId, offsets: &mut BTreeMap<Partition, i64>) {
        let mut state = self.state();
        if !state.group.has(member) {
            if !offsets.is_empty() {
                self.sim.reach("the commit of a member that was evicted was refused");
                trace!(self.sim, "kafka refuses a commit of member {member}");
            }
            return offsets.clear();
        }
        if state.commits_fail_until.is_some_and(|until| until > Instant::now()) {
            self.sim.reach("a commit failed");
            return;
        }
        for (partition, offset) in std::mem::take(offsets) {
            // A broker takes any offset of a member of the present generation.
            trace!(self.sim, "kafka commit {} [{}] at {offset}", partition.0, partition.1);
            self.sim.oracle.committed(&partition, offset);
            state.committed.insert(partition, offset);
        }
    }

    /// Deletes the older half of the records of a random partition, committed or not.
    pub(crate) fn expire_records(&self) {
        let mut state = self.state();
        let partition = state.logs.keys().nth(self.sim.index(state.logs.len())).cloned();
        let Some((partition, log)) = partition
            .and_then(|partition| Some((partition.clone(), state.logs.get_mut(&partition)?)))
        else {
            return;
        };
        log.begin += (log.end() - log.begin) / 2;
        let begin = log.begin;
        trace!(
            self.sim,
            "kafka retention deletes {} [{}] before {begin}", partition.0, partition.1
        );
        self.sim.reach("retention deleted records");
        self.sim.oracle.records_deleted(&partition, begin);
        drop(state);
        self.notify();
    }

    /// Forgets what the group has committed in a partition without an owner, as happens to a group
    /// that is stopped for longer than the retention of offsets. Returns the partition.
    pub(crate) fn expire_offsets(&self) -> Option<Partition> {
        let mut state = self.state();
        let is_owned = |partition: &&Partition| state.group.is_owned(partition);
        let partition = state.committed.keys().find(|partition| !is_owned(partition)).cloned()?;
        trace!(self.sim, "kafka forgets the offset of {} [{}]", partition.0, partition.1);
        self.sim.reach("a committed offset expired");
        state.committed.remove(&partition);
        Some(partition)
    }

    pub(crate) fn fail_commits_until(&self, until: Instant) {
        self.state().commits_fail_until = Some(until);
    }

    /// Starts a rebalance that moves partitions although no member has changed.
    pub(crate) fn rebalance(&self) {
        trace!(self.sim, "kafka rebalances");
        self.state().group.shuffle(self.sim.index(97));
        self.notify();
    }

    pub(crate) fn end_faults(&self) {
        self.state().commits_fail_until = None;
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.notify();
        changed
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no code panics while it holds this lock")
    }

    /// Returns a future that resolves once anything changes after this call.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    fn notify(&self) {
        self.shared.changed.notify_waiters();
    }
}
