//! Clients that listen while things break, one for each of some users, and the account of what
//! was sent to each and what arrived when.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::ready,
    iter::repeat_n,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    checker::{Ledger, Position, position},
    client::{Client, Closed, Connect},
    events::fresh_user,
    eventually,
    stack::{LIMIT, Stack},
};

/// Longer than any scenario: how long a client may hear nothing.
const PATIENCE: Duration = Duration::from_hours(1);
/// How long a client waits before it comes back, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a client does when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It takes that as a fault of the system.
    Stays,
    /// It comes back, to the next gateway, and resumes from the last position it knows.
    Returns,
    /// It leaves after each notification, comes back at once and resumes.
    Restless,
}

/// Some users, each with one client.
#[derive(Debug)]
pub struct Audience {
    /// The users.
    pub users: Vec<String>,
    books: Arc<Mutex<Books>>,
    listening: JoinSet<()>,
}

/// What is known of everybody.
#[derive(Debug, Default)]
pub(crate) struct Books {
    ledger: Ledger,
    sent: HashMap<String, Instant>,
    arrived: HashMap<String, Instant>,
    /// Who is listening now.
    present: HashSet<String>,
    /// Whom the last marker has reached.
    marked: HashSet<String>,
    /// How often connections ended with each close code; 0: without one.
    codes: BTreeMap<u16, u64>,
    /// After how many milliseconds clients were asked to come back.
    pauses: Vec<u64>,
    incomplete: u64,
    complaints: Vec<String>,
}

/// How long it took, after a fault had ended, until events that were sent before arrived.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    delays: Vec<Duration>,
}

impl Audience {
    /// Opens a connection for each of so many fresh users, in turn to each gateway, and waits
    /// until all are subscribed.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn gather(stack: &Stack, sizes: &[(usize, Manner)]) -> anyhow::Result<Self> {
        let books = Arc::new(Mutex::new(Books::default()));
        let mut audience = Self { users: Vec::new(), books, listening: JoinSet::new() };
        for manner in sizes.iter().flat_map(|(size, manner)| repeat_n(*manner, *size)) {
            let (number, user) = (audience.users.len(), fresh_user());
            let gateways = 0..stack.gateways.len();
            let connections = gateways.map(|gateway| stack.connection(gateway, &user));
            let listener = Listener {
                user: user.clone(),
                manner,
                connections: connections.collect::<anyhow::Result<_>>()?,
                books: Arc::clone(&audience.books),
                position: None,
            };
            audience.listening.spawn(listener.listen(number));
            audience.users.push(user);
        }
        audience.present().await?;
        Ok(audience)
    }

    /// Waits until all are connected and subscribed.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn present(&self) -> anyhow::Result<()> {
        eventually("everybody is connected", LIMIT * 3, async || {
            let present = self.books().present.len();
            ensure!(present == self.users.len(), "{present} of {} are", self.users.len());
            Ok(())
        })
        .await
    }

    /// Waits until everything has arrived that has been sent by now, and says how long each took
    /// that had not arrived before.
    ///
    /// # Errors
    /// When something does not arrive within `limit`.
    pub async fn repaired(&self, limit: Duration) -> anyhow::Result<Repair> {
        let ended = Instant::now();
        let mut outstanding: HashSet<String> = {
            let books = self.books();
            books.sent.keys().filter(|id| !books.arrived.contains_key(*id)).cloned().collect()
        };
        let mut delays = Vec::with_capacity(outstanding.len());
        eventually("what was sent before arrives", limit, || {
            let books = self.books();
            outstanding.retain(|id| {
                let arrived = books.arrived.get(id);
                delays.extend(arrived.map(|at| at.duration_since(ended)));
                arrived.is_none()
            });
            let missing = outstanding.len();
            ready(if missing == 0 { Ok(()) } else { Err(anyhow!("{missing} are missing")) })
        })
        .await?;
        delays.sort_unstable();
        Ok(Repair { delays })
    }

    /// Checks that each user got everything that was sent, once and in order, that what resumed
    /// was complete, and that no connection ended that was to stay.
    ///
    /// # Errors
    /// Says what went wrong.
    pub async fn judge(&self, stack: &Stack) -> anyhow::Result<()> {
        // A failure here is one of those that the verdict names.
        let arrived = self.repaired(LIMIT * 3).await;
        self.mark(stack).await?;
        let books = self.books();
        books.ledger.verdict().check()?;
        ensure!(books.complaints.is_empty(), "{}", books.complaints.join("; "));
        ensure!(books.incomplete == 0, "{} resumed incompletely", books.incomplete);
        arrived.map(drop)
    }

    /// Waits until each client has received a marker, and so everything before it.
    async fn mark(&self, stack: &Stack) -> anyhow::Result<()> {
        self.books().marked.clear();
        let marker = json!({"event": "marker"}).to_string();
        eventually("a marker reaches everybody", LIMIT, async || {
            let missing: Vec<&String> = {
                let books = self.books();
                self.users.iter().filter(|user| !books.marked.contains(*user)).collect()
            };
            for user in &missing {
                stack.publish(user, &marker).await?;
            }
            ensure!(missing.is_empty(), "not {} of them", missing.len());
            Ok(())
        })
        .await
    }

    /// How often connections ended with each close code; 0 stands for none.
    #[must_use]
    pub fn codes(&self) -> BTreeMap<u16, u64> {
        self.books().codes.clone()
    }

    /// After how many milliseconds clients were asked to come back.
    #[must_use]
    pub fn pauses(&self) -> Vec<u64> {
        self.books().pauses.clone()
    }

    /// How many clients were told that they cannot have everything since their position.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        self.books().incomplete
    }

    /// How many different events have arrived.
    #[must_use]
    pub fn arrivals(&self) -> usize {
        self.books().arrived.len()
    }

    pub(crate) fn account(&self) -> Arc<Mutex<Books>> {
        Arc::clone(&self.books)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

impl Books {
    pub(crate) fn send(&mut self, user: &str, event_id: &str) {
        self.ledger.sent(user, event_id);
        self.sent.insert(event_id.to_owned(), Instant::now());
    }
}

pub(crate) fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    // A listener that panicked has already failed its scenario.
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client of one user.
struct Listener {
    user: String,
    manner: Manner,
    connections: Vec<Connect>,
    books: Arc<Mutex<Books>>,
    position: Option<(Position, String)>,
}

impl Listener {
    async fn listen(mut self, first: usize) {
        let mut pause = FIRST_PAUSE;
        for turn in first.. {
            let mut connection = self.connections[turn % self.connections.len()].clone();
            if let Some((_, position)) = &self.position {
                connection = connection.query("last_event_id", position);
            }
            if let Ok(client) = connection.open().await {
                pause = FIRST_PAUSE;
                let ended = self.hear(client).await;
                if !self.note(ended) {
                    return;
                }
            }
            // Whoever was refused comes back later and later, as a good client does.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Books the end of a connection; returns whether the client comes back.
    fn note(&self, ended: anyhow::Result<()>) -> bool {
        // Restless clients are never away for long.
        let Err(problem) = ended else { return true };
        let mut books = lock(&self.books);
        books.present.remove(&self.user);
        let code = problem.downcast_ref::<Closed>().map_or(0, |closed| closed.code);
        *books.codes.entry(code).or_default() += 1;
        if self.manner == Manner::Stays {
            books.complaints.push(format!("{}: {problem:#}", self.user));
        }
        self.manner != Manner::Stays
    }

    /// Takes everything until the connection ends, which is an error, or the client leaves.
    async fn hear(&mut self, mut client: Client) -> anyhow::Result<()> {
        loop {
            let frame = client.frame(PATIENCE).await?;
            if frame["event"] == "connection_state" {
                self.be_told(&frame["data"])?;
            } else if self.take(&frame)? && self.manner == Manner::Restless {
                return Ok(());
            }
        }
    }

    fn be_told(&mut self, state: &Value) -> anyhow::Result<()> {
        let mut books = lock(&self.books);
        if state["state"] == "authenticated" {
            books.present.insert(self.user.clone());
        }
        // In mid-connection this tells of a gap that could not be closed.
        books.incomplete += u64::from(state["resume"] == "incomplete");
        books.pauses.extend(state["reconnect_after_ms"].as_u64());
        drop(books);
        if self.position.is_none() { self.reach(state["last_event_id"].as_str()) } else { Ok(()) }
    }

    /// Returns whether it is a notification.
    fn take(&mut self, frame: &Value) -> anyhow::Result<bool> {
        if frame["event"] == "marker" {
            lock(&self.books).marked.insert(self.user.clone());
            return Ok(false);
        }
        let id = frame["event_id"].as_str().context("a notification has an event id")?;
        {
            let mut books = lock(&self.books);
            books.ledger.arrived(&self.user, frame)?;
            books.arrived.entry(id.to_owned()).or_insert_with(Instant::now);
        }
        self.reach(frame["id"].as_str())?;
        Ok(true)
    }

    fn reach(&mut self, id: Option<&str>) -> anyhow::Result<()> {
        if let Some(id) = id {
            let reached = (position(id)?, id.to_owned());
            self.position = self.position.take().max(Some(reached));
        }
        Ok(())
    }
}

impl Repair {
    /// Adds what another fault took.
    pub fn add(&mut self, other: Self) {
        self.delays.extend(other.delays);
        self.delays.sort_unstable();
    }

    fn percentile(&self, percent: usize) -> u128 {
        let at = (self.delays.len() * percent).div_ceil(100);
        self.delays.get(at.saturating_sub(1)).map_or(0, Duration::as_millis)
    }
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, p99, most] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "{} late events, p50 {median} ms, p99 {p99} ms, ", self.delays.len())?;
        write!(f, "max {most} ms after its end")
    }
}
