//! A steady flow of events to an audience, while things break. Which events, and in which order
//! the users get them, follows from a seed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::audience::{self, Audience, Books};
use harness::{
    events::{self, Case},
    producer::Producer,
    stack::{LIMIT, Stack},
};

/// How often some events are sent.
const TICK: Duration = Duration::from_millis(20);

/// A running flow. Its events are of the kinds that never wait in a gateway.
#[derive(Debug)]
pub struct Flow {
    sent: watch::Receiver<usize>,
    stop: CancellationToken,
    sending: JoinHandle<anyhow::Result<()>>,
}

impl Flow {
    /// Sends `per_second` events, after one to each user with which every client gets a position;
    /// returns once these have arrived.
    ///
    /// # Errors
    /// When they do not arrive in time.
    pub async fn start(
        stack: &Stack,
        audience: &Audience,
        per_second: u32,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let mut cases = events::designed()?;
        cases.retain(|case| !case.may_wait());
        let (sent, progress) = watch::channel(0);
        let stop = CancellationToken::new();
        let mut source = Source {
            cases,
            users: audience.users.clone(),
            random: StdRng::seed_from_u64(seed),
            books: audience.account(),
            producer: stack.producer.clone(),
            sending: JoinSet::new(),
            sent,
        };
        for user in &audience.users {
            source.send(user)?;
        }
        let sending = tokio::spawn(source.run(per_second, stop.clone()));
        audience.repaired(LIMIT * 3).await.context("the first event of each user")?;
        Ok(Self { sent: progress, stop, sending })
    }

    /// Waits until so many more events have been sent: time, measured in events.
    ///
    /// # Errors
    /// When the flow has ended.
    pub async fn more(&mut self, events: usize) -> anyhow::Result<()> {
        let goal = *self.sent.borrow_and_update() + events;
        self.sent.wait_for(|sent| *sent >= goal).await.context("the flow has ended")?;
        Ok(())
    }

    /// Ends it, once the broker has acknowledged every event.
    ///
    /// # Errors
    /// When it has not taken one of them.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = timeout(LIMIT * 3, self.sending).await;
        ended.context("the broker has not acknowledged every event")??
    }
}

struct Source {
    cases: Vec<Case>,
    users: Vec<String>,
    random: StdRng,
    books: Arc<Mutex<Books>>,
    producer: Producer,
    sending: JoinSet<anyhow::Result<()>>,
    sent: watch::Sender<usize>,
}

impl Source {
    async fn run(mut self, per_second: u32, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let a_tick = f64::from(per_second) * TICK.as_secs_f64();
        let mut due = 0.0;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => due += a_tick,
                Some(sent) = self.sending.join_next() => sent??,
            }
            while due >= 1.0 {
                due -= 1.0;
                let at = self.random.random_range(0..self.users.len());
                let user = self.users[at].clone();
                self.send(&user)?;
            }
        }
        for sent in self.sending.join_all().await {
            sent?;
        }
        Ok(())
    }

    fn send(&mut self, user: &str) -> anyhow::Result<()> {
        let case = self.cases.choose(&mut self.random).context("there are events")?;
        let event = case.fresh(user)?;
        ensure!(!event.notification.is_null(), "it is told to its user");
        audience::lock(&self.books).send(user, &event.id);
        let (producer, books) = (self.producer.clone(), Arc::clone(&self.books));
        self.sending.spawn(async move {
            producer.send(&event).await?;
            audience::lock(&books).acknowledge(&event.id);
            Ok(())
        });
        self.sent.send_modify(|sent| *sent += 1);
        Ok(())
    }
}
