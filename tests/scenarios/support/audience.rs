//! Clients that listen while things break, one for each of some users, and the account of what
//! was sent to each and what arrived when.

mod listener;
mod repair;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::ready,
    iter::repeat_n,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{anyhow, ensure};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use crate::checker::Ledger;
use harness::{
    events::fresh_user,
    eventually,
    service::Service,
    stack::{LIMIT, Stack},
};
use listener::Listener;
pub use repair::Repair;

/// How many markers are published in one round trip.
const PUBLISH_AT_ONCE: usize = 500;

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
    sent: HashSet<String>,
    /// When the broker said that it has the event.
    acknowledged: HashMap<String, Instant>,
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

impl Audience {
    /// Opens a connection for each of so many fresh users, in turn to each gateway, and waits
    /// until all are subscribed.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn gather(stack: &Stack, sizes: &[(usize, Manner)]) -> anyhow::Result<Self> {
        let gateways: Vec<_> = stack.gateways.iter().map(Service::address).collect();
        Self::gather_at(stack, &gateways, sizes).await
    }

    /// The same at other addresses that lead to gateways.
    ///
    /// # Errors
    /// As [`Audience::gather`].
    pub async fn gather_at(
        stack: &Stack,
        addresses: &[SocketAddr],
        sizes: &[(usize, Manner)],
    ) -> anyhow::Result<Self> {
        let books = Arc::new(Mutex::new(Books::default()));
        let mut audience = Self { users: Vec::new(), books, listening: JoinSet::new() };
        for manner in sizes.iter().flat_map(|(size, manner)| repeat_n(*manner, *size)) {
            let (number, user) = (audience.users.len(), fresh_user());
            let connections = addresses.iter().map(|at| stack.connection_at(*at, &user));
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
            books.sent.iter().filter(|id| !books.arrived.contains_key(*id)).cloned().collect()
        };
        let mut repair = Repair::default();
        eventually("what was sent before arrives", limit, || {
            let books = self.books();
            outstanding.retain(|id| {
                let Some(&arrived) = books.arrived.get(id) else { return true };
                repair.arrival(ended, books.acknowledged.get(id).copied(), arrived);
                false
            });
            let missing = outstanding.len();
            let is_held = |id: &&String| !books.acknowledged.contains_key(*id);
            let held = outstanding.iter().filter(is_held).count();
            let what = || anyhow!("{missing} are missing, {held} are not known to the broker");
            ready(if missing == 0 { Ok(()) } else { Err(what()) })
        })
        .await?;
        Ok(repair)
    }

    /// Checks that each user got everything that was sent, once and in order, that what resumed
    /// was complete, and that no connection ended that was to stay.
    ///
    /// # Errors
    /// Says what went wrong.
    pub async fn judge(&self, stack: &Stack) -> anyhow::Result<()> {
        // A failure here is one of those that the verdict names.
        let arrived = self.repaired(LIMIT * 3).await;
        let complaints = self.books().complaints.join("; ");
        ensure!(complaints.is_empty(), "{complaints}");
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
        let redis = stack.redis.connection().await?;
        eventually("a marker reaches everybody", LIMIT, async || {
            let missing: Vec<&String> = {
                let books = self.books();
                self.users.iter().filter(|user| !books.marked.contains(*user)).collect()
            };
            // A crowd in a few round trips.
            for users in missing.chunks(PUBLISH_AT_ONCE) {
                let mut all = redis::pipe();
                for user in users {
                    all.publish(format!("ws:{user}"), &marker);
                }
                all.exec_async(&mut redis.clone()).await?;
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
        self.sent.insert(event_id.to_owned());
    }

    pub(crate) fn acknowledge(&mut self, event_id: &str) {
        self.acknowledged.insert(event_id.to_owned(), Instant::now());
    }
}

pub(crate) fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    // A listener that panicked has already failed its scenario.
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
