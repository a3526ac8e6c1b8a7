//! Events that flow to connected users while something breaks, and the violations on them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    producer::Producer,
    redis::RedisTopology,
    stack::Stack,
};
use rand::{SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::Value;
use support::delivery_checker::{DeliveryChecker, Violations};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{interval, timeout},
};

const USERS: usize = 20;

/// How often an event is sent.
const PACE: Duration = Duration::from_millis(5);

/// Longest wait for a frame while a fault is under way.
const FRAME_LIMIT: Duration = Duration::from_secs(45);

/// Events on their way to a client of each user.
pub(super) struct Flow {
    checker: DeliveryChecker,
    arrivals: mpsc::UnboundedReceiver<(String, Value)>,
    clients: Vec<JoinHandle<anyhow::Result<()>>>,
    sending: JoinHandle<anyhow::Result<()>>,
    sent: watch::Receiver<usize>,
    longest_silence: Duration,
    last: Instant,
    total: usize,
    users: Vec<String>,
}

impl Flow {
    /// Connects a client of each user and begins to send them `total` events, one at a time.
    pub(super) async fn begin(
        stack: &Stack<impl RedisTopology>,
        total: usize,
    ) -> anyhow::Result<Self> {
        let seed = rand::random::<u64>();
        println!("the seed of the flow is {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let users: Vec<String> = (0..USERS).map(|_| fresh_user()).collect();
        let (sender, arrivals) = mpsc::unbounded_channel();
        let mut clients = Vec::new();
        for user in &users {
            let mut client = stack.client(user).await?;
            let (user, sender) = (user.clone(), sender.clone());
            clients.push(tokio::spawn(async move {
                // Until nobody listens any more.
                while !sender.is_closed() {
                    let frame = client.next_notification(FRAME_LIMIT).await?;
                    drop(sender.send((user.clone(), frame)));
                }
                Ok(())
            }));
        }
        let cases = events::designed()?;
        let mut checker = DeliveryChecker::default();
        let mut events = Vec::with_capacity(total);
        for _ in 0..total {
            let user = users.choose(&mut random).context("there are users")?;
            let event = cases.choose(&mut random).context("there are cases")?.fresh(user)?;
            checker.record_sent(user, &event.id);
            events.push(event);
        }
        let (counter, sent) = watch::channel(0);
        let sending = tokio::spawn(send(stack.producer.clone(), events, counter));
        let (last, longest_silence) = (Instant::now(), Duration::ZERO);
        Ok(Self { checker, arrivals, clients, sending, sent, longest_silence, last, total, users })
    }

    /// Who is told.
    pub(super) fn users(&self) -> Vec<String> {
        self.users.clone()
    }

    /// Waits until so many different events have arrived.
    pub(super) async fn reaches(&mut self, count: usize) -> anyhow::Result<()> {
        while self.checker.delivered() < count {
            let arrived = timeout(FRAME_LIMIT, self.arrivals.recv()).await;
            let missing = || format!("{} of {count} have arrived", self.checker.delivered());
            let (user, frame) = arrived.with_context(missing)?.context("a client is left")?;
            self.longest_silence = self.longest_silence.max(self.last.elapsed());
            self.last = Instant::now();
            self.checker.record_delivered(&user, &frame)?;
        }
        Ok(())
    }

    /// Waits until so many more have been sent.
    pub(super) async fn sends(&mut self, more: usize) -> anyhow::Result<()> {
        let goal = *self.sent.borrow_and_update() + more;
        self.sent.wait_for(|sent| *sent >= goal).await.context("all have been sent")?;
        Ok(())
    }

    /// Waits for all of them, and judges. No client may have been closed on the way.
    pub(super) async fn end(mut self) -> anyhow::Result<Violations> {
        self.reaches(self.total).await?;
        println!("the longest silence was {:?}", self.longest_silence);
        (&mut self.sending).await??;
        for client in &self.clients {
            ensure!(!client.is_finished(), "a socket was closed");
            client.abort();
        }
        Ok(self.checker.violations())
    }
}

async fn send(
    producer: Producer,
    events: Vec<Event>,
    sent: watch::Sender<usize>,
) -> anyhow::Result<()> {
    let mut ticks = interval(PACE);
    for event in events {
        ticks.tick().await;
        producer.send(&event).await?;
        sent.send_modify(|sent| *sent += 1);
    }
    Ok(())
}
