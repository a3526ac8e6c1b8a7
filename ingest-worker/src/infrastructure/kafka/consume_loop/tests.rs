//! The loop over an in-memory source, publisher, owner directory and dead-letter topic, on a paused
//! clock.

mod backends;
mod flow;
mod parking;
mod restore;

use std::{future::Future, time::Duration};

use prometheus::Registry;
use serde_json::{Value, json};
use shared::{admin::Readiness, metrics::Label as _};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ConsumeLoop, Limits};
use crate::{
    accounting::Accounting,
    domain::{
        classify::Classifier,
        dispatch::Dispatcher,
        idempotency::IdentityRule,
        record::{OutcomeKind, ParkReason},
        routes::{NotificationSource, RoutedType, Routes},
    },
    infrastructure::kafka::{batch::BatchProcessor, source::fake::FakeBroker},
    metrics::Metrics,
};
use backends::{DeadLetterTopic, Owners, Store};

const OWNER_WAIT: Duration = Duration::from_secs(30);
/// Longest that a condition may take to hold, on the paused clock.
const LIMIT: Duration = Duration::from_mins(5);

/// A worker without Kafka and Redis.
struct Setup {
    broker: FakeBroker,
    store: Store,
    owners: Owners,
    sink: DeadLetterTopic,
    metrics: Metrics,
    readiness: Readiness,
    limits: Limits,
}

impl Setup {
    /// A worker with these partitions.
    fn new(partitions: impl IntoIterator<Item = i32>) -> Self {
        Self {
            broker: FakeBroker::with_assigned(partitions),
            store: Store::default(),
            owners: Owners::default(),
            sink: DeadLetterTopic::default(),
            metrics: Metrics::new(&Registry::new()),
            readiness: Readiness::default(),
            limits: Limits {
                group: "g".into(),
                rewind_limit: Duration::from_hours(1),
                owner_wait: OWNER_WAIT,
                max_parked: 1_000,
            },
        }
    }

    fn processor(&self) -> BatchProcessor<Store, Owners> {
        let routes = Routes::new(NotificationSource::Domain, |topic| topic.default.to_owned());
        BatchProcessor {
            classifier: Classifier::new(routes, IdentityRule::EventId, None)
                .with_max_reread_age(Duration::from_hours(24)),
            dispatcher: Dispatcher::new(self.store.clone(), self.owners.clone()),
            metrics: self.metrics.clone(),
            tracer: None,
        }
    }

    /// Runs the loop until `script` ends, then drains it.
    async fn run(&self, script: impl Future<Output = ()>) {
        let processor = self.processor();
        let accounting = Accounting::new(self.metrics.clone(), self.readiness.clone());
        let source = self.broker.source();
        let mut consume =
            ConsumeLoop::new(source, &processor, &self.sink, &accounting, &self.limits);
        let stop = CancellationToken::new();
        let scripted = async {
            script.await;
            stop.cancel();
        };
        let (result, ()) = tokio::join!(consume.run(&stop), scripted);
        result.expect("the source does not fail");
        consume.drain(Instant::now() + Duration::from_secs(20)).await;
        self.check_balance();
    }

    /// Checks that every record that was read is finished, revoked or in flight.
    fn check_balance(&self) {
        let labels = <(RoutedType, OutcomeKind)>::all().into_iter();
        let finished: u64 = labels.map(|label| self.metrics.outcomes.of(label).get()).sum();
        let in_flight = u64::try_from(self.metrics.in_flight.get()).expect("not negative");
        let ends = finished + self.metrics.revoked.get() + in_flight;
        assert_eq!(self.metrics.consumed.get(), ends, "a record is lost or counted twice");
        for reason in ParkReason::all() {
            assert!(self.metrics.parked.of(reason).get() >= 0, "{reason:?}");
        }
    }

    fn parked(&self, reason: ParkReason) -> i64 {
        self.metrics.parked.of(reason).get()
    }

    /// Waits until `condition` holds.
    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !condition(self) {
            let published = self.store.published();
            assert!(begin.elapsed() < LIMIT, "{what}: does not happen; published: {published:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until exactly these events are published, in this order.
    async fn published(&self, expected: &[u128]) {
        let count = expected.len();
        self.until("events are published", |setup| setup.store.published().len() >= count).await;
        assert_eq!(self.store.published(), expected);
    }

    async fn committed(&self, partition: i32, offset: i64) {
        let is_committed = |setup: &Self| setup.broker.committed(partition) == offset;
        self.until("the offset is committed", is_committed).await;
    }
}

fn event(event_type: &str, id: u128, data: &Value) -> Vec<u8> {
    let id = Uuid::from_u128(id);
    json!({"event_type": event_type, "event_id": id, "data": data}).to_string().into_bytes()
}

/// An event of a batch that does not name its user.
fn of_batch(id: u128, batch: &str) -> Vec<u8> {
    let data = json!({"batch_id": batch, "phase_name": "spellcheck"});
    event("huleedu.els.batch.phase.outcome.v1", id, &data)
}

/// An event of a batch that names its user and so states the owner.
fn of_batch_and_user(id: u128, batch: &str, user: &str) -> Vec<u8> {
    let data = json!({"batch_id": batch, "phase_name": "spellcheck", "user_id": user});
    event("huleedu.els.batch.phase.outcome.v1", id, &data)
}

/// An event of a user; its class is its own.
fn of_user(id: u128, user: &str) -> Vec<u8> {
    let data = json!({"class_id": format!("class-{id}"), "user_id": user});
    event("huleedu.class.created.v1", id, &data)
}
