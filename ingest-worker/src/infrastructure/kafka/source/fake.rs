//! A source over an in-memory log: it keeps the contract of [`RecordSource`] without a client, on
//! one thread and without a clock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{Timestamp, message::OwnedMessage};
use tokio::sync::Notify;

use super::{MAX_BATCH, RecordSource, RewindTo};
use crate::{
    infrastructure::kafka::{
        offsets::{Offsets, Partition},
        record::InFlightRecord,
    },
    notification::publisher::{System, TransientError},
};

pub(crate) const TOPIC: &str = "t";

/// The partitions of [`TOPIC`] and the offsets that a group has committed. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct FakeBroker(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    logs: BTreeMap<i32, Vec<Vec<u8>>>,
    committed: BTreeMap<i32, i64>,
    rebalances: VecDeque<Rebalance>,
    paused: BTreeSet<i32>,
    fatal_error: Option<String>,
    topic_id: Option<String>,
    refuses_rewinds: bool,
}

enum Rebalance {
    Assign(i32),
    Revoke(i32),
    Recreate(String),
}

impl FakeBroker {
    /// A broker whose next member is assigned these partitions.
    pub(crate) fn with_assigned(partitions: impl IntoIterator<Item = i32>) -> Self {
        let broker = Self::default();
        partitions.into_iter().for_each(|partition| broker.assign(partition));
        broker
    }

    pub(crate) fn produce(&self, partition: i32, value: impl Into<Vec<u8>>) {
        self.change(|state| state.logs.entry(partition).or_default().push(value.into()));
    }

    /// Assigns a partition while the member polls.
    pub(crate) fn assign(&self, partition: i32) {
        self.change(|state| state.rebalances.push_back(Rebalance::Assign(partition)));
    }

    /// Revokes a partition while the member polls.
    pub(crate) fn revoke(&self, partition: i32) {
        self.change(|state| state.rebalances.push_back(Rebalance::Revoke(partition)));
    }

    /// Sets the id of [`TOPIC`] for members that join later.
    pub(crate) fn set_topic_id(&self, id: &str) {
        self.change(|state| state.topic_id = Some(id.to_owned()));
    }

    /// Creates [`TOPIC`] again, with this id, while the member polls.
    pub(crate) fn create_again(&self, id: &str) {
        self.change(|state| {
            state.logs.clear();
            state.rebalances.push_back(Rebalance::Recreate(id.to_owned()));
        });
    }

    /// Answers no request that a rewind needs, or again all.
    pub(crate) fn refuse_rewinds(&self, refuse: bool) {
        self.change(|state| state.refuses_rewinds = refuse);
    }

    /// Commits an offset for the group.
    pub(crate) fn commit(&self, partition: i32, offset: i64) {
        self.change(|state| {
            state.committed.insert(partition, offset);
        });
    }

    /// Deletes the committed offsets of the group.
    pub(crate) fn forget_commits(&self) {
        self.change(|state| state.committed.clear());
    }

    pub(crate) fn fail(&self, error: &str) {
        self.change(|state| state.fatal_error = Some(error.to_owned()));
    }

    /// The offset at which the group would continue.
    pub(crate) fn committed(&self, partition: i32) -> i64 {
        self.state().committed.get(&partition).copied().unwrap_or(0)
    }

    pub(crate) fn paused(&self) -> BTreeSet<i32> {
        self.state().paused.clone()
    }

    /// A member of the group.
    pub(crate) fn source(&self) -> FakeSource {
        let (mut offsets, topic_id) = (Offsets::default(), self.state().topic_id.clone());
        topic_id.map(|id| offsets.set_topic_id(TOPIC, id));
        FakeSource {
            broker: self.clone(),
            offsets: offsets.into(),
            positions: Mutex::default(),
            assignment_changed: AtomicBool::new(false),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }
}

/// A member of the group of a [`FakeBroker`].
pub(crate) struct FakeSource {
    broker: FakeBroker,
    offsets: Mutex<Offsets>,
    positions: Mutex<BTreeMap<i32, usize>>,
    assignment_changed: AtomicBool,
}

impl FakeSource {
    fn rebalance(&mut self, state: &mut State) {
        for rebalance in state.rebalances.drain(..) {
            self.assignment_changed.store(true, Ordering::Relaxed);
            let mut offsets = self.offsets.lock().unwrap();
            match rebalance {
                Rebalance::Assign(partition) => {
                    offsets.assign(TOPIC, partition);
                    let committed = state.committed.get(&partition).copied().unwrap_or(0);
                    let mut position = usize::try_from(committed).unwrap();
                    if position > state.logs.get(&partition).map_or(0, Vec::len) {
                        // As with `earliest`.
                        offsets.reset(TOPIC, partition, committed);
                        position = 0;
                    } else {
                        offsets.set_start(TOPIC, partition, committed);
                    }
                    self.positions().insert(partition, position);
                }
                Rebalance::Revoke(partition) => {
                    offsets.revoke(TOPIC, partition);
                    self.positions().remove(&partition);
                    state.paused.remove(&partition);
                }
                Rebalance::Recreate(id) => {
                    offsets.set_topic_id(TOPIC, id);
                    offsets.rewind(TOPIC);
                    self.positions().values_mut().for_each(|position| *position = 0);
                }
            }
        }
    }

    fn positions(&self) -> MutexGuard<'_, BTreeMap<i32, usize>> {
        self.positions.lock().unwrap()
    }

    fn take(&mut self, state: &State) -> Vec<InFlightRecord<OwnedMessage>> {
        let mut records = Vec::new();
        let mut positions = self.positions();
        let active = positions.iter_mut().filter(|(p, _)| !state.paused.contains(*p));
        for (&partition, position) in active {
            let log = state.logs.get(&partition).map_or(&[][..], Vec::as_slice);
            for value in log.iter().skip(*position).take(MAX_BATCH - records.len()) {
                let offset = i64::try_from(*position).unwrap();
                let record = message(partition, offset, value.clone());
                let admitted = self.offsets.lock().unwrap().read(TOPIC, partition, offset);
                records.extend(admitted.map(|admitted| InFlightRecord::new(record, &admitted)));
                *position += 1;
            }
        }
        records
    }
}

/// A record of [`TOPIC`], written long ago.
pub(crate) fn message(partition: i32, offset: i64, value: Vec<u8>) -> OwnedMessage {
    let topic = TOPIC.to_owned();
    OwnedMessage::new(Some(value), None, topic, Timestamp::CreateTime(1), partition, offset, None)
}

impl RecordSource for FakeSource {
    type Record = OwnedMessage;

    async fn read(&mut self) -> Vec<InFlightRecord<OwnedMessage>> {
        loop {
            let broker = self.broker.clone();
            let changed = broker.0.changed.notified();
            let was_changed = {
                let mut state = broker.state();
                self.rebalance(&mut state);
                let records = self.take(&state);
                if !records.is_empty() {
                    return records;
                }
                self.assignment_changed.load(Ordering::Relaxed) || state.fatal_error.is_some()
            };
            if was_changed {
                return Vec::new();
            }
            changed.await;
        }
    }

    fn offsets(&self) -> MutexGuard<'_, Offsets> {
        self.offsets.lock().unwrap()
    }

    fn take_assignment_changed(&self) -> bool {
        self.assignment_changed.swap(false, Ordering::Relaxed)
    }

    fn set_paused(&self, partitions: &BTreeSet<Partition>, paused: bool) {
        self.broker.change(|state| {
            for (_, partition) in partitions {
                if paused {
                    state.paused.insert(*partition);
                } else {
                    state.paused.remove(partition);
                }
            }
        });
    }

    fn store_offsets(&self) {
        let mut state = self.broker.state();
        for (_, partition, offset) in self.offsets().take_committable() {
            state.committed.insert(partition, offset);
        }
    }

    async fn rewind(
        &mut self,
        partitions: &[(Partition, RewindTo)],
    ) -> Vec<Result<Option<i64>, TransientError>> {
        let rewind = |((topic, partition), to): &(Partition, RewindTo)| {
            if self.broker.state().refuses_rewinds {
                return Err(TransientError { system: System::Kafka, detail: "refused".into() });
            }
            let committed = self.broker.state().committed.get(partition).copied();
            let start = self.offsets().rewind_start(topic, *partition, *to, Some(0), committed);
            let Some(from) = start else { return Ok(None) };
            self.positions().insert(*partition, usize::try_from(from).unwrap());
            let (silent, loss) = (to.silent_until(), to.loss());
            self.offsets().begin_restore(topic, *partition, from, silent, loss);
            Ok(Some(from))
        };
        partitions.iter().map(rewind).collect()
    }

    fn fatal_error(&self) -> Option<String> {
        self.broker.state().fatal_error.clone()
    }
}
