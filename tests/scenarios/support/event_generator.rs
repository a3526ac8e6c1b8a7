//! Sends a steady rate of events to the users of a fleet while a scenario injects faults. A seed
//! determines the events and the order of the users.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Case},
    producer::Producer,
    redis::RedisTopology,
    stack::{Stack, TIMEOUT},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::client_fleet::{ClientFleet, Observations, lock};

/// Interval between bursts of events; short enough that a burst holds only a few.
const TICK: Duration = Duration::from_millis(20);

/// A running generator. Low-priority events are left out, as a gateway may delay them.
#[derive(Debug)]
pub struct EventGenerator {
    sent: watch::Receiver<usize>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl EventGenerator {
    /// Sends one event to each user, so that every client has a position to resume from, and then
    /// `per_second` events; returns once the first ones are delivered.
    ///
    /// # Errors
    /// When the first events are not delivered in time.
    pub async fn start(
        stack: &Stack<impl RedisTopology>,
        fleet: &ClientFleet,
        per_second: u32,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let mut cases = events::designed()?;
        cases.retain(|case| !case.may_wait());
        let (sent, progress) = watch::channel(0);
        let stop = CancellationToken::new();
        let mut sender = Sender {
            cases,
            users: fleet.users.clone(),
            random: StdRng::seed_from_u64(seed),
            observations: fleet.shared_observations(),
            producer: stack.producer.clone(),
            in_flight: JoinSet::new(),
            sent,
        };
        for user in &fleet.users {
            sender.send(user)?;
        }
        let task = tokio::spawn(sender.run(per_second, stop.clone()));
        fleet.wait_for_delivery(TIMEOUT * 3).await.context("the first event of each user")?;
        Ok(Self { sent: progress, stop, task })
    }

    /// Waits until `events` more events have been sent.
    ///
    /// # Errors
    /// When the generator has ended.
    pub async fn wait_for_sent(&mut self, events: usize) -> anyhow::Result<()> {
        let goal = *self.sent.borrow_and_update() + events;
        self.sent.wait_for(|sent| *sent >= goal).await.context("the generator has ended")?;
        Ok(())
    }

    /// Stops sending and waits until the broker has acknowledged every event.
    ///
    /// # Errors
    /// When the broker does not acknowledge an event.
    pub async fn stop_and_flush(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = timeout(TIMEOUT * 3, &mut self.task).await;
        ended.context("the broker has not acknowledged every event")??
    }
}

struct Sender {
    cases: Vec<Case>,
    users: Vec<String>,
    random: StdRng,
    observations: Arc<Mutex<Observations>>,
    producer: Producer,
    in_flight: JoinSet<anyhow::Result<()>>,
    sent: watch::Sender<usize>,
}

impl Sender {
    async fn run(mut self, per_second: u32, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let per_tick = f64::from(per_second) * TICK.as_secs_f64();
        let mut due = 0.0;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => due += per_tick,
                Some(sent) = self.in_flight.join_next() => sent??,
            }
            while due >= 1.0 {
                due -= 1.0;
                let at = self.random.random_range(0..self.users.len());
                let user = self.users[at].clone();
                self.send(&user)?;
            }
        }
        for sent in self.in_flight.join_all().await {
            sent?;
        }
        Ok(())
    }

    fn send(&mut self, user: &str) -> anyhow::Result<()> {
        let case = self.cases.choose(&mut self.random).context("there are fixture cases")?;
        let event = case.fresh(user)?;
        ensure!(!event.notification.is_null(), "{} has no notification", case.name());
        lock(&self.observations).record_sent(user, &event.id);
        let (producer, observations) = (self.producer.clone(), Arc::clone(&self.observations));
        self.in_flight.spawn(async move {
            producer.send(&event).await?;
            lock(&observations).record_acknowledged(&event.id);
            Ok(())
        });
        self.sent.send_modify(|sent| *sent += 1);
        Ok(())
    }
}
