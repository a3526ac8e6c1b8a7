//! In-memory backends that can fail, refuse and hang.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use shared::user::UserId;
use tokio::sync::watch;

use crate::{
    domain::recipients::{OwnedEntity, OwnerAnswers, OwnerDirectory},
    infrastructure::kafka::dead_letters::queue::{DeadLetter, DeadLetterSink},
    notification::publisher::{
        OutgoingNotification, PublishOutcome, Published, Publisher, StoredWatermark, System,
        TransientError, Watermark,
    },
};

fn error(system: System) -> TransientError {
    TransientError { system, detail: "refused".into() }
}

/// A gate that calls wait for while it is closed.
#[derive(Clone)]
pub(super) struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl Gate {
    pub(super) fn set_open(&self, open: bool) {
        self.0.send_replace(open);
    }

    async fn pass(&self) {
        let mut open = self.0.subscribe();
        open.wait_for(|open| *open).await.expect("the sender lives as long as the gate");
    }
}

/// A publisher that keeps the order of each user even when it refuses some notifications. Its gate
/// holds calls with notifications.
#[derive(Clone, Default)]
pub(super) struct Store {
    state: Arc<Mutex<StoreState>>,
    pub(super) gate: Gate,
}

#[derive(Default)]
struct StoreState {
    published: Vec<u128>,
    outage: bool,
    refuses_watermarks: bool,
    keeps_watermarks: bool,
    refused: HashSet<String>,
    calls: usize,
    data: Data,
    /// After how many more notifications all data are lost.
    lost_after: Option<usize>,
}

/// What a failover goes back in.
#[derive(Clone, Default)]
pub(super) struct Data {
    seen: HashSet<(UserId, u128)>,
    watermarks: BTreeMap<Arc<str>, String>,
    /// Whether the histories are older than what is rebuilt.
    has_histories: bool,
}

impl Store {
    /// What a replica has now.
    pub(super) fn snapshot(&self) -> Data {
        self.state().data.clone()
    }

    /// Makes a replica the master.
    pub(super) fn fail_over_to(&self, data: Data) {
        self.state().data = data;
    }

    /// Loses all data after so many more notifications, in the middle of a call.
    pub(super) fn lose_after(&self, notifications: usize) {
        self.state().lost_after = Some(notifications);
    }

    /// The value of a watermark.
    pub(super) fn watermark(&self, source: &str) -> String {
        self.state().data.watermarks[source].clone()
    }

    /// The ids of the events that were published, in order.
    pub(super) fn published(&self) -> Vec<u128> {
        self.state().published.clone()
    }

    pub(super) fn calls(&self) -> usize {
        self.state().calls
    }

    /// Makes every call fail, or work again.
    pub(super) fn set_outage(&self, outage: bool) {
        self.state().outage = outage;
    }

    /// Refuses to read or replace watermarks, or no longer.
    pub(super) fn refuse_watermarks(&self, refuse: bool) {
        self.state().refuses_watermarks = refuse;
    }

    /// Refuses to replace watermarks, or no longer.
    pub(super) fn keep_watermarks(&self, keep: bool) {
        self.state().keeps_watermarks = keep;
    }

    /// Refuses the notifications of one user from now on, or of none.
    pub(super) fn refuse(&self, user: Option<&str>) {
        self.state().refused = user.into_iter().map(str::to_owned).collect();
    }

    fn state(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap()
    }
}

impl Data {
    /// Data without claims, and this value of a watermark.
    pub(super) fn with_watermark(source: &Arc<str>, value: &str) -> Self {
        let watermarks = [(Arc::clone(source), value.to_owned())].into();
        Self { watermarks, ..Self::default() }
    }

    /// Data of users who were notified of other events long ago.
    pub(super) fn with_histories() -> Self {
        Self { has_histories: true, ..Self::default() }
    }

    /// Has the watermark of this source that `other` has.
    pub(super) fn keep_watermark(&mut self, source: &str, other: &Self) {
        self.watermarks.insert(source.into(), other.watermarks[source].clone());
    }

    fn stored(&self, source: &Arc<str>) -> StoredWatermark {
        [("server".into(), self.watermarks.get(source).cloned())].into()
    }

    fn replace(&mut self, watermark: &Watermark) -> StoredWatermark {
        let Watermark { source, stored, token, position } = watermark;
        let present = self.watermarks.get(source);
        if present == stored["server"].as_ref() || present.is_some_and(|p| p.starts_with(token)) {
            self.watermarks.insert(Arc::clone(source), format!("{token}.1 {position} at 5"));
        }
        self.stored(source)
    }
}

impl Publisher for Store {
    async fn publish(
        &self,
        notifications: &[OutgoingNotification],
        watermarks: &[Watermark],
    ) -> Result<Published, TransientError> {
        if !notifications.is_empty() {
            self.gate.pass().await;
        }
        let mut state = self.state();
        state.calls += usize::from(!notifications.is_empty());
        if state.outage {
            return Err(error(System::Redis));
        }
        let publish = |sent: &OutgoingNotification| {
            state.lost_after = match state.lost_after {
                Some(0) => {
                    state.data = Data::default();
                    None
                }
                left => left.map(|left| left - 1),
            };
            if state.refused.contains(sent.user.as_str()) {
                return PublishOutcome::Refused(error(System::Redis));
            }
            let frame: serde_json::Value = serde_json::from_str(&sent.text).unwrap();
            let id: uuid::Uuid = frame["event_id"].as_str().unwrap().parse().unwrap();
            if !state.data.seen.insert((sent.user.clone(), id.as_u128())) {
                return PublishOutcome::Duplicate;
            }
            if sent.history_only.is_none() || state.data.has_histories {
                state.published.push(id.as_u128());
            }
            PublishOutcome::Published
        };
        let outcomes = notifications.iter().map(publish).collect();
        let watermarks = if state.refuses_watermarks { &[] } else { watermarks };
        let keeps = state.keeps_watermarks;
        let replace = |watermark: &Watermark| {
            if keeps { state.data.stored(&watermark.source) } else { state.data.replace(watermark) }
        };
        let watermarks = watermarks.iter().map(replace).collect();
        Ok(Published { outcomes, watermarks })
    }

    async fn watermarks(
        &self,
        sources: &[Arc<str>],
    ) -> Result<Vec<StoredWatermark>, TransientError> {
        let state = self.state();
        if state.outage {
            return Err(error(System::Redis));
        }
        if state.refuses_watermarks {
            return Ok(vec![StoredWatermark::new(); sources.len()]);
        }
        Ok(sources.iter().map(|source| state.data.stored(source)).collect())
    }

    async fn time(&self) -> Result<i64, TransientError> {
        Ok(9)
    }
}

/// An owner directory.
#[derive(Clone, Default)]
pub(super) struct Owners(Arc<Mutex<HashMap<OwnedEntity, UserId>>>);

impl Owners {
    /// States the owner of a batch, as another worker does.
    pub(super) fn state(&self, batch: &str, user: &str) {
        let (batch, user) = (OwnedEntity::Batch(batch.into()), UserId::new(user).unwrap());
        self.0.lock().unwrap().insert(batch, user);
    }
}

impl OwnerDirectory for Owners {
    async fn find_and_learn(
        &self,
        requested: &[OwnedEntity],
        learned: &[(OwnedEntity, UserId)],
    ) -> Result<OwnerAnswers, TransientError> {
        let mut owners = self.0.lock().unwrap();
        let found = requested.iter().filter_map(|entity| owners.get_key_value(entity));
        let found = found.map(|(entity, user)| (entity.clone(), user.clone())).collect();
        owners.extend(learned.iter().cloned());
        Ok(OwnerAnswers { found, ..OwnerAnswers::default() })
    }
}

/// A dead-letter topic.
#[derive(Clone, Default)]
pub(super) struct DeadLetterTopic {
    state: Arc<Mutex<TopicState>>,
    pub(super) gate: Gate,
}

#[derive(Default)]
struct TopicState {
    written: Vec<(i64, &'static str)>,
    refuses: bool,
    attempts: usize,
}

impl DeadLetterTopic {
    /// The offsets and reasons of acknowledged dead letters.
    pub(super) fn written(&self) -> Vec<(i64, &'static str)> {
        self.state.lock().unwrap().written.clone()
    }

    pub(super) fn attempts(&self) -> usize {
        self.state.lock().unwrap().attempts
    }

    pub(super) fn set_refuses(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
    }
}

impl DeadLetterSink for DeadLetterTopic {
    async fn write(&self, dead_letters: &[DeadLetter]) -> Vec<Result<(), TransientError>> {
        self.gate.pass().await;
        let mut state = self.state.lock().unwrap();
        state.attempts += 1;
        let mut write = |dead_letter: &DeadLetter| {
            if state.refuses {
                return Err(error(System::Kafka));
            }
            state.written.push((dead_letter.record.offset(), dead_letter.rejection.reason.label()));
            Ok(())
        };
        dead_letters.iter().map(&mut write).collect()
    }
}
