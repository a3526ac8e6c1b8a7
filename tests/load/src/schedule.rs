//! The schedule of a run: sends its events to Kafka at fixed times and measures the delay.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;
use rdkafka::{
    ClientConfig, ClientContext,
    error::KafkaError,
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaErrorCode,
};

use super::{
    events::{Kind, Writer},
    now,
    plan::ClientPlan,
    stats::Histogram,
    tag::{EventTag, RunId},
};

/// Longest wait for the acknowledgement of the last events.
const FLUSH_LIMIT: Duration = Duration::from_secs(30);
/// Shorter waits are skipped, in nanoseconds: a sleep overshoots by about as much.
const MIN_SLEEP_NANOS: u64 = 200_000;

/// What is sent, to which users, and when.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The Kafka topic.
    pub topic: String,
    /// The type of the events.
    pub kind: Kind,
    /// The run that the events belong to.
    pub run: RunId,
    /// The users, in turn.
    pub users: Vec<String>,
    /// When the first event is due; see [`now`].
    pub start: u64,
    /// Events per second; 0: as fast as the Kafka client accepts them.
    pub per_second: u64,
    /// Number of events.
    pub events: u64,
}

/// Progress of a schedule, shared with other threads.
#[derive(Clone, Debug, Default)]
pub struct SendProgress {
    /// Events handed to the Kafka client.
    pub sent: Arc<AtomicU64>,
    /// Set to stop sending.
    pub stop: Arc<AtomicBool>,
}

/// The result of a schedule.
#[derive(Clone, Debug)]
pub struct SendResult {
    /// Events sent.
    pub events: u64,
    /// Events that the broker did not acknowledge.
    pub failed: u64,
    /// From the scheduled time until an event was handed to the Kafka client.
    pub delay: Histogram,
}

impl Schedule {
    /// Events for all users of a plan, the first one due in 300 ms.
    #[must_use]
    pub fn new(plan: &ClientPlan, kind: Kind, per_second: u64, events: u64) -> Self {
        Self {
            topic: kind.topic().to_owned(),
            kind,
            run: RunId::new(&plan.run),
            users: (0..plan.user_count()).map(|number| plan.user(number)).collect(),
            start: now() + 300_000_000,
            per_second,
            events,
        }
    }

    fn due(&self, event: u64) -> u64 {
        let nanos = u128::from(event) * 1_000_000_000 / u128::from(self.per_second.max(1));
        self.start + u64::try_from(nanos).unwrap_or(u64::MAX / 2)
    }

    /// Sends all events; blocks until the broker has acknowledged them.
    ///
    /// # Errors
    /// When the producer cannot be created or rejects an event.
    pub fn send(
        &self,
        kafka: &ClientConfig,
        progress: &SendProgress,
    ) -> anyhow::Result<SendResult> {
        let mut config = kafka.clone();
        let defaults = [
            ("acks", "all"),
            ("linger.ms", "1"),
            ("queue.buffering.max.messages", "500000"),
            ("queue.buffering.max.kbytes", "524288"),
        ];
        for (name, value) in defaults {
            if config.get(name).is_none() {
                config.set(name, value);
            }
        }
        let failures = DeliveryFailures::default();
        let producer: ThreadedProducer<DeliveryFailures> =
            config.create_with_context(failures.clone()).context("create a producer")?;
        let (writer, mut text) = (Writer::new(self.kind), String::new());
        let (mut delay, mut events) = (Histogram::default(), 0);
        while events < self.events && !progress.stop.load(Relaxed) {
            let due = self.wait_for(events);
            let user = &self.users[usize::try_from(events)? % self.users.len()];
            let number = events / self.users.len() as u64;
            writer.write(&mut text, events, user, &self.run.encode(EventTag { number, due }));
            self.enqueue(&producer, user, &text)?;
            delay.record(now().saturating_sub(due));
            events += 1;
            progress.sent.store(events, Relaxed);
        }
        producer.flush(FLUSH_LIMIT).context("the broker has not acknowledged every event")?;
        Ok(SendResult { events, failed: failures.0.load(Relaxed), delay })
    }

    /// Waits until an event is due and returns its scheduled time.
    fn wait_for(&self, event: u64) -> u64 {
        if self.per_second == 0 {
            return now();
        }
        let due = self.due(event);
        let early = due.saturating_sub(now());
        if early > MIN_SLEEP_NANOS {
            thread::sleep(Duration::from_nanos(early));
        }
        due
    }

    fn enqueue(
        &self,
        producer: &ThreadedProducer<DeliveryFailures>,
        user: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        let mut record = BaseRecord::to(&self.topic).key(user).payload(text);
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                // The wait counts as delay.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    thread::sleep(Duration::from_millis(1));
                    record = back;
                }
                Err((error, _)) => return Err(error).context("send an event"),
            }
        }
    }
}

/// Counts events that the broker did not acknowledge.
#[derive(Clone, Debug, Default)]
struct DeliveryFailures(Arc<AtomicU64>);

impl ClientContext for DeliveryFailures {}

impl ProducerContext for DeliveryFailures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Tokens;
    use harness::{kafka::Kafka, producer::read_topic};

    #[tokio::test(flavor = "multi_thread")]
    async fn events_go_to_users_in_turn_and_not_before_they_are_due() {
        let kafka = Kafka::start_embedded().await.unwrap();
        let mut plan = ClientPlan::new(4, Vec::new(), Tokens::Secret(String::new()));
        plan.users = crate::plan::Users::Named(vec!["a".into(), "b".into()]);
        let schedule = Schedule::new(&plan, Kind::File, 1_000, 5);
        let (config, run) = (kafka.client_config(), schedule.run.clone());
        let start = schedule.start;
        let sending =
            move || schedule.send(&config, &SendProgress::default()).map(|sent| (sent, now()));
        let (sent, end) = tokio::task::spawn_blocking(sending).await.unwrap().unwrap();
        assert_eq!((sent.events, sent.failed), (5, 0));
        assert!(end >= start + 4_000_000);
        let all = |records: &[rdkafka::message::OwnedMessage]| records.len() == 5;
        let limit = Duration::from_secs(10);
        let records = read_topic(&kafka, Kind::File.topic(), limit, all).await.unwrap();
        let of_b = records.iter().filter(|record| rdkafka::Message::key(*record) == Some(b"b"));
        let tags = of_b.filter_map(|record| run.find(rdkafka::Message::payload(record)?));
        let tags: Vec<_> = tags.map(|tag| (tag.number, tag.due - start)).collect();
        assert_eq!(tags, [(0, 1_000_000), (1, 3_000_000)]);
    }
}
