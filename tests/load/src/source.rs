//! Sends the events of a run to Kafka at the times that were fixed beforehand, and says how far
//! it was behind them.

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
    mark::{Mark, Run},
    now,
    plan::Crowd,
    tally::Times,
};

/// Longest wait for the broker to acknowledge the last events.
const FLUSH_LIMIT: Duration = Duration::from_secs(30);
/// Shorter waits are not worth a sleep, which takes longer than asked for anyway.
const SHORTEST_SLEEP: u64 = 200_000;

/// When which event is sent to whom.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Where to.
    pub topic: String,
    /// What.
    pub kind: Kind,
    /// Its run.
    pub run: Run,
    /// To whom, in turns.
    pub users: Vec<String>,
    /// When the first is due.
    pub start: u64,
    /// How many are due in a second; 0: each as soon as there is room for it.
    pub per_second: u64,
    /// How many in all.
    pub events: u64,
}

/// How far it has come; shared with who wants to know.
#[derive(Clone, Debug, Default)]
pub struct Going {
    /// Events that were handed to the Kafka client.
    pub sent: Arc<AtomicU64>,
    /// Says that no more are to be sent.
    pub stop: Arc<AtomicBool>,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Events that were sent.
    pub events: u64,
    /// Those among them that the broker has not acknowledged.
    pub failed: u64,
    /// How long after its time each was handed to the Kafka client.
    pub lateness: Times,
}

impl Schedule {
    /// Events for everybody in a crowd, the first one due a moment from now.
    #[must_use]
    pub fn of(crowd: &Crowd, kind: Kind, per_second: u64, events: u64) -> Self {
        Self {
            topic: kind.topic().to_owned(),
            kind,
            run: Run::named(&crowd.run),
            users: (0..crowd.user_count()).map(|number| crowd.user(number)).collect(),
            start: now() + 300_000_000,
            per_second,
            events,
        }
    }

    fn due(&self, event: u64) -> u64 {
        let nanos = u128::from(event) * 1_000_000_000 / u128::from(self.per_second.max(1));
        self.start + u64::try_from(nanos).unwrap_or(u64::MAX / 2)
    }

    /// Sends it all; blocks for as long as that takes.
    ///
    /// # Errors
    /// When the Kafka client cannot be made, or refuses an event for good.
    pub fn send(&self, kafka: &ClientConfig, going: &Going) -> anyhow::Result<Sent> {
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
        let failed = Failures::default();
        let producer: ThreadedProducer<Failures> =
            config.create_with_context(failed.clone()).context("create a producer")?;
        let (writer, mut text) = (Writer::new(self.kind), String::new());
        let (mut lateness, mut events) = (Times::default(), 0);
        while events < self.events && !going.stop.load(Relaxed) {
            let due = self.wait_for(events);
            let user = &self.users[usize::try_from(events)? % self.users.len()];
            let number = events / self.users.len() as u64;
            writer.write(&mut text, events, user, &self.run.text(Mark { number, due }));
            self.hand_over(&producer, user, &text)?;
            lateness.record(now().saturating_sub(due));
            events += 1;
            going.sent.store(events, Relaxed);
        }
        producer.flush(FLUSH_LIMIT).context("the broker has not acknowledged every event")?;
        Ok(Sent { events, failed: failed.0.load(Relaxed), lateness })
    }

    /// Waits until an event is due, and returns when that was.
    fn wait_for(&self, event: u64) -> u64 {
        if self.per_second == 0 {
            return now();
        }
        let due = self.due(event);
        let early = due.saturating_sub(now());
        if early > SHORTEST_SLEEP {
            thread::sleep(Duration::from_nanos(early));
        }
        due
    }

    fn hand_over(
        &self,
        producer: &ThreadedProducer<Failures>,
        user: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        let mut record = BaseRecord::to(&self.topic).key(user).payload(text);
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                // The queue is full; waiting counts as lateness.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    thread::sleep(Duration::from_millis(1));
                    record = back;
                }
                Err((error, _)) => return Err(error).context("send an event"),
            }
        }
    }
}

/// Counts events that the broker has not taken.
#[derive(Clone, Debug, Default)]
struct Failures(Arc<AtomicU64>);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
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
    async fn events_are_sent_in_turns_and_not_before_their_time() {
        let kafka = Kafka::start_embedded().await.unwrap();
        let mut crowd = Crowd::of(4, Vec::new(), Tokens::Secret(String::new()));
        crowd.users = crate::plan::Users::Named(vec!["a".into(), "b".into()]);
        let schedule = Schedule::of(&crowd, Kind::File, 1_000, 5);
        let (config, run) = (kafka.client_config(), schedule.run.clone());
        let start = schedule.start;
        let sending = move || schedule.send(&config, &Going::default()).map(|sent| (sent, now()));
        let (sent, end) = tokio::task::spawn_blocking(sending).await.unwrap().unwrap();
        assert_eq!((sent.events, sent.failed), (5, 0));
        assert!(end >= start + 4_000_000);
        let all = |records: &[rdkafka::message::OwnedMessage]| records.len() == 5;
        let limit = Duration::from_secs(10);
        let records = read_topic(&kafka, Kind::File.topic(), limit, all).await.unwrap();
        let of_b = records.iter().filter(|record| rdkafka::Message::key(*record) == Some(b"b"));
        let marks = of_b.filter_map(|record| run.find(rdkafka::Message::payload(record)?));
        let marks: Vec<_> = marks.map(|mark| (mark.number, mark.due - start)).collect();
        assert_eq!(marks, [(0, 1_000_000), (1, 3_000_000)]);
    }
}
