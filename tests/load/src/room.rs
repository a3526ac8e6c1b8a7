//! What the sockets of a process share: what they are to do, how a connection is opened and read,
//! and the books of what came.

use std::{
    ops::Range,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::ensure;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    account::Account,
    dial::Gateway,
    mark::Run,
    now,
    plan::{Crowd, Progress},
    tally::Tally,
    wire::Wire,
};
use harness::usage;

/// Longest time for one attempt to connect.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// What only a frame of the connection says, and only this one.
const SUBSCRIBED: &str = "\"state\":\"authenticated\"";

/// What all sockets of the process share.
pub(super) struct Room {
    /// What they are to do.
    pub(super) crowd: Crowd,
    run: Run,
    gateways: Vec<Gateway>,
    sockets: Range<usize>,
    tokens: Vec<String>,
    gate: Semaphore,
    record_from: AtomicU64,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    progress: Progress,
    told: Progress,
    accounts: Vec<Account>,
    tally: Tally,
}

impl Room {
    /// The part of a crowd that a process holds; signs its tokens.
    pub(super) async fn new(crowd: Crowd, seat: usize) -> anyhow::Result<Self> {
        let mut gateways = Vec::with_capacity(crowd.gateways.len());
        for url in &crowd.gateways {
            gateways.push(Gateway::at(url).await?);
        }
        ensure!(!gateways.is_empty(), "there are no gateways");
        let sockets = crowd.sockets_of(seat);
        // Signed beforehand, as that is not what is measured.
        let token = |socket: usize| {
            let user = socket % crowd.user_count();
            crowd.tokens.token(user, &crowd.user(user), &crowd.claims)
        };
        let tokens = sockets.clone().map(token).collect::<anyhow::Result<_>>()?;
        let books = Books { accounts: vec![Account::default(); sockets.len()], ..Books::default() };
        Ok(Self {
            run: Run::named(&crowd.run),
            gate: Semaphore::new(crowd.at_once.max(1)),
            record_from: AtomicU64::new(0),
            books: Mutex::new(books),
            crowd,
            gateways,
            sockets,
            tokens,
        })
    }

    /// Opens a connection, until its subscription stands.
    pub(super) async fn open(
        &self,
        socket: usize,
        turn: usize,
        position: &mut Option<String>,
        lost: Option<u64>,
    ) -> anyhow::Result<Wire> {
        let _permit = match lost {
            None => Some(self.gate.acquire().await?),
            // Who comes back does not wait for others.
            Some(_) => None,
        };
        let begun = now();
        let gateway = &self.gateways[turn % self.gateways.len()];
        let token = &self.tokens[socket - self.sockets.start];
        let from = self.crowd.address_of(socket);
        let opening = async {
            let mut wire = gateway.open(from, token, position.as_deref()).await?;
            let mut subscribed = false;
            while !subscribed {
                let more =
                    wire.read(|text| subscribed |= self.take(socket, text, position)).await?;
                ensure!(more, "closed");
            }
            Ok(wire)
        };
        let wire = timeout(OPEN_LIMIT, opening).await??;
        self.books().tally.connects.record(now() - begun);
        Ok(wire)
    }

    /// Reads until the connection ends, or the client has stayed long enough; returns whether it
    /// is the client who leaves. Nobody leaves before the measurement begins.
    pub(super) async fn listen(
        &self,
        wire: &mut Wire,
        socket: usize,
        position: &mut Option<String>,
    ) -> bool {
        let reading = async {
            while let Ok(true) = wire.read(|text| _ = self.take(socket, text, position)).await {}
        };
        let stay = self.crowd.stay_ms;
        if stay == 0 {
            reading.await;
            return false;
        }
        let stays = || Duration::from_millis(rand::random_range(stay / 2..=stay * 3 / 2));
        tokio::pin!(reading);
        while timeout(stays(), &mut reading).await.is_err() {
            if self.record_from.load(Relaxed) > 0 {
                return true;
            }
        }
        false
    }

    /// Keeps a connection and reads nothing.
    pub(super) async fn hold(&self, wire: Wire) {
        std::future::pending::<()>().await;
        drop(wire);
    }

    /// Notes a text; returns whether it says that the subscription stands.
    fn take(&self, socket: usize, text: &[u8], position: &mut Option<String>) -> bool {
        let leaves = self.crowd.come_back || self.crowd.stay_ms > 0;
        let Some(mark) = self.run.find(text) else {
            let subscribed = std::str::from_utf8(text).is_ok_and(|text| text.contains(SUBSCRIBED));
            if subscribed && leaves && position.is_none() {
                *position = value_of(text, "\"last_event_id\":\"");
            }
            self.books().tally.foreign += u64::from(!subscribed);
            return subscribed;
        };
        if leaves {
            *position = value_of(&text[..text.len().min(64)], "{\"id\":\"");
        }
        let late = now().saturating_sub(mark.due);
        let mut books = self.books();
        books.accounts[socket - self.sockets.start].note(mark.number);
        books.progress.received += 1;
        books.progress.worst_us = books.progress.worst_us.max(late / 1_000);
        if mark.due >= self.record_from.load(Relaxed) {
            books.tally.latency.record(late);
        }
        false
    }

    /// Notes a connection, and how long its client was without one.
    pub(super) fn enter(&self, lost: Option<u64>) {
        let mut books = self.books();
        books.progress.connected += 1;
        if let Some(lost) = lost {
            books.tally.returns.record(now() - lost);
        }
    }

    /// Notes the end of a connection, whether its client left or lost it.
    pub(super) fn leave(&self, left: bool) {
        let mut books = self.books();
        books.progress.connected -= 1;
        books.tally.disconnects += u64::from(!left);
    }

    /// Notes an attempt to connect that failed.
    pub(super) fn count_refused(&self) {
        self.books().progress.refused += 1;
    }

    /// The numbers of its sockets.
    pub(super) fn sockets(&self) -> Range<usize> {
        self.sockets.clone()
    }

    /// Has lateness noted of events that are due from then on.
    pub(super) fn record_from(&self, from: u64) {
        self.record_from.store(from, Relaxed);
    }

    /// How it stands, if that has changed.
    pub(super) fn news(&self) -> Option<Progress> {
        let mut books = self.books();
        let progress = books.progress;
        books.progress.worst_us = 0;
        if progress == books.told {
            return None;
        }
        books.told = books.progress;
        Some(progress)
    }

    /// Adds up, after so many events in all.
    pub(super) fn tally(&self, events: u64) -> anyhow::Result<Tally> {
        let books = self.books();
        let mut tally = books.tally.clone();
        tally.received = books.progress.received;
        tally.refused = books.progress.refused;
        for (socket, account) in self.sockets.clone().zip(&books.accounts) {
            if !self.crowd.is_stalled(socket) {
                tally.missing += account.missing(self.crowd.expected_by(socket, events));
                tally.duplicates += account.duplicates;
                tally.out_of_order += account.out_of_order;
            }
        }
        tally.cpu = usage::of_this_process()?.cpu;
        Ok(tally)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text behind `name` up to the next quote.
fn value_of(text: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let rest = &text[text.find(name)? + name.len()..];
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_where_it_stands() {
        let text = br#"{"id":"12-3","event":"e"}"#;
        assert_eq!(value_of(text, "{\"id\":\"").as_deref(), Some("12-3"));
        assert_eq!(value_of(br#"{"id":"12"#, "{\"id\":\""), None);
    }
}
