//! The records that producers write: events that name their user, events of a batch whose owner is
//! stated elsewhere, duplicates, and records that are no event.

use std::time::Duration;

use ingest_worker::worker::pipeline::Partition;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    kafka::Cluster,
    oracle::{Event, Expected, batch_id},
    simulation::{Sim, trace},
};

const CLASS: &str = "huleedu.class.created.v1";
const PHASE: &str = "huleedu.els.batch.phase.outcome.v1";
const REGISTERED: &str = "huleedu.batch.essays.registered.v1";
const UNROUTED: &str = "huleedu.unrouted.v1";

/// The batches, each owned by one user.
const BATCHES: usize = 6;

/// Returns the partitions of all topics.
pub(crate) fn partitions(sim: &Sim) -> Vec<Partition> {
    let topics = [CLASS, PHASE, REGISTERED, UNROUTED].into_iter();
    let of = |topic: &'static str| (0..sim.plan.partitions).map(move |id| (topic.to_owned(), id));
    topics.flat_map(of).collect()
}

/// Returns the id of a user.
pub(crate) fn user(index: usize) -> String {
    format!("user-{index}")
}

/// Produces the records of the plan over its duration.
pub(crate) async fn produce(sim: Sim, cluster: Cluster) {
    let producer = Producer { sim, cluster };
    let sim = &producer.sim;
    let pause = sim.plan.duration / u32::try_from(sim.plan.records.max(1)).unwrap_or(u32::MAX);
    for batch in 0..BATCHES {
        // Some owners are stated before the first event of their batch, some later, some never.
        let delay = match sim.index(10) {
            0 => continue,
            1..5 if sim.plan.owners_are_late => sim.plan.duration,
            1..5 => Duration::ZERO,
            _ => sim.millis(0..u64::try_from(sim.plan.duration.as_millis()).unwrap_or(1)),
        };
        let producer = producer.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            producer.state_owner(batch);
        });
    }
    let mut count = 0;
    while count < sim.plan.max_records {
        // Bursts, so that records are delivered together.
        let burst = if sim.chance(30) { 1 + sim.index(8) } else { 1 };
        for _ in 0..burst.min(sim.plan.max_records - count) {
            producer.produce_one();
            count += 1;
        }
        let pause = u64::try_from(pause.as_millis()).unwrap_or(1) * burst as u64;
        sleep(sim.millis(0..2 * pause + 1)).await;
    }
}

/// Produces one event for each user.
pub(crate) fn produce_for_each_user(sim: &Sim, cluster: &Cluster) {
    let producer = Producer { sim: sim.clone(), cluster: cluster.clone() };
    for index in 0..sim.plan.users {
        let id = u128::from(sim.number(1..u64::MAX));
        let data = json!({"class_id": format!("class-{id}"), "user_id": user(index)});
        let event = Event { id, user: user(index), names_user: true, batch: None };
        let expected = Expected::Notification(event);
        producer.write(&producer.partition(CLASS), envelope(CLASS, id, &data), expected);
    }
}

#[derive(Clone)]
struct Producer {
    sim: Sim,
    cluster: Cluster,
}

impl Producer {
    fn produce_one(&self) {
        let plan = &self.sim.plan;
        if self.sim.chance(plan.poison) {
            return self.produce_poison();
        }
        let id = u128::from(self.sim.number(1..u64::MAX));
        let batch = self.sim.index(BATCHES);
        let owner = user(batch % plan.users);
        let (topic, user, data, batch) = if self.sim.chance(plan.without_user) {
            let data = json!({"batch_id": batch_id(batch), "phase_name": "spellcheck"});
            (PHASE, owner, data, Some(batch))
        } else if self.sim.chance(30) {
            let data = json!({
                "batch_id": batch_id(batch), "phase_name": "spellcheck", "user_id": owner,
            });
            (PHASE, owner, data, Some(batch))
        } else {
            let user = user(self.sim.index(plan.users));
            let mut data = json!({"class_id": format!("class-{id}"), "user_id": user});
            if id % 2 == 0 {
                data["class_designation"] = "x".repeat(plan.long_text).into();
            }
            (CLASS, user, data, None)
        };
        let names_user = data.get("user_id").is_some();
        let value = envelope(topic, id, &data);
        let event = Event { id, user, names_user, batch };
        let partition = self.partition(topic);
        self.write(&partition, value.clone(), Expected::Notification(event.clone()));
        if self.sim.chance(plan.duplicates) {
            self.sim.reach("an event was produced twice");
            let again = if self.sim.chance(50) { partition } else { self.partition(topic) };
            self.write(&again, value, Expected::Notification(event));
        }
    }

    fn produce_poison(&self) {
        let (topic, value, expected) = match self.sim.index(4) {
            0 => (CLASS, b"not JSON".to_vec(), Expected::DeadLetter),
            1 => (PHASE, b"{\"event_type\":7}".to_vec(), Expected::DeadLetter),
            2 => (CLASS, envelope(CLASS, 1, &json!({"user_id": 5})), Expected::DeadLetter),
            _ => (UNROUTED, envelope(UNROUTED, 1, &json!({})), Expected::Ignored),
        };
        self.write(&self.partition(topic), value, expected);
    }

    fn state_owner(&self, batch: usize) {
        let user = user(batch % self.sim.plan.users);
        let data = json!({"entity_id": batch_id(batch), "user_id": user});
        let id = u128::from(self.sim.number(1..u64::MAX));
        let partition = self.partition(REGISTERED);
        let expected = Expected::Owner(batch_id(batch));
        self.write(&partition, envelope(REGISTERED, id, &data), expected);
    }

    fn partition(&self, topic: &str) -> Partition {
        let count = usize::try_from(self.sim.plan.partitions).unwrap_or(1);
        (topic.to_owned(), i32::try_from(self.sim.index(count)).unwrap_or(0))
    }

    fn write(&self, partition: &Partition, value: Vec<u8>, expected: Expected) {
        let offset = self.cluster.produce(partition, value);
        let (topic, id) = partition;
        trace!(self.sim, "produced {topic} [{id}] {offset}: {expected:?}");
        self.sim.oracle.produced(partition, expected);
    }
}

fn envelope(event_type: &str, id: u128, data: &Value) -> Vec<u8> {
    let id = Uuid::from_u128(id);
    json!({"event_type": event_type, "event_id": id, "data": data}).to_string().into_bytes()
}
