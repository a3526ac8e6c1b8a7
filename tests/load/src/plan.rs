//! What the sockets are to do, as told to the processes that hold them, and what these say.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{
    tally::Tally,
    tokens::{Claims, Tokens},
};

/// Who the users are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Users {
    /// So many, named after the run.
    Numbered(usize),
    /// These.
    Named(Vec<String>),
}

/// A crowd of sockets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Crowd {
    /// The addresses of the gateways, `ws://host:port/ws`; sockets take turns.
    pub gateways: Vec<String>,
    /// Letters and digits that no other run has.
    pub run: String,
    /// Whose sockets they are; sockets take turns.
    pub users: Users,
    /// How many.
    pub sockets: usize,
    /// What they show.
    pub tokens: Tokens,
    /// What their tokens must say.
    pub claims: Claims,
    /// How many processes hold them.
    pub seats: usize,
    /// How many a process may be connecting at once, but for those that come back.
    pub at_once: usize,
    /// Every so many-th socket reads nothing once it is connected; 0: none.
    pub stalled_every: usize,
    /// How long a client stays until it leaves and resumes, on average; 0: for good.
    pub stay_ms: u64,
    /// Whether one whose connection ends resumes at the next gateway.
    pub come_back: bool,
    /// Whether all begin at the first gateway.
    pub at_first: bool,
    /// Whether the connections come from 127.0.0.2 and up, some from each: an address has about
    /// 28,000 ports, and Linux searches long for a free one once a quarter of them is taken.
    pub own_addresses: bool,
}

impl Crowd {
    /// So many sockets of as many users, that stay and read.
    #[must_use]
    pub fn of(sockets: usize, gateways: Vec<String>, tokens: Tokens) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let own_addresses = gateways.iter().all(|url| url.contains("//127."));
        Self {
            gateways,
            run,
            users: Users::Numbered(sockets),
            sockets,
            tokens,
            claims: Claims::default(),
            seats: sockets.div_ceil(MOST_SOCKETS).max(1),
            at_once: 64,
            stalled_every: 0,
            stay_ms: 0,
            come_back: false,
            at_first: false,
            own_addresses,
        }
    }

    /// How many users there are.
    #[must_use]
    pub fn user_count(&self) -> usize {
        match &self.users {
            Users::Numbered(count) => *count,
            Users::Named(names) => names.len(),
        }
    }

    /// The name of a user.
    #[must_use]
    pub fn user(&self, number: usize) -> String {
        match &self.users {
            Users::Numbered(_) => format!("load-{}-{number}", self.run),
            Users::Named(names) => names.get(number).cloned().unwrap_or_default(),
        }
    }

    /// Whether a socket reads nothing.
    #[must_use]
    pub fn is_stalled(&self, socket: usize) -> bool {
        self.stalled_every > 0 && socket.is_multiple_of(self.stalled_every)
    }

    /// How many of `events` are for the user of a socket, if they go to all users in turn.
    #[must_use]
    pub fn expected_by(&self, socket: usize, events: u64) -> u64 {
        let users = self.user_count() as u64;
        let user = socket as u64 % users;
        (events + users - 1 - user) / users
    }

    /// How many texts `events` are for all sockets that read.
    #[must_use]
    pub fn expected(&self, events: u64) -> u64 {
        let reading = (0..self.sockets).filter(|socket| !self.is_stalled(*socket));
        reading.map(|socket| self.expected_by(socket, events)).sum()
    }

    /// The sockets of one of the processes.
    #[must_use]
    pub fn sockets_of(&self, seat: usize) -> std::ops::Range<usize> {
        let at = |seat| self.sockets * seat / self.seats;
        at(seat)..at(seat + 1)
    }

    /// Where the connection of a socket comes from.
    #[must_use]
    pub fn address_of(&self, socket: usize) -> Option<IpAddr> {
        let number = 2 + socket / SOCKETS_OF_AN_ADDRESS;
        let [high, low] = u16::try_from(number).unwrap_or(2).to_be_bytes();
        self.own_addresses.then_some(Ipv4Addr::new(127, 0, high, low).into())
    }
}

/// How many sockets share an address.
const SOCKETS_OF_AN_ADDRESS: usize = 2_000;

/// Most sockets of one process; it may have 20,000 files open where we measure.
pub const MOST_SOCKETS: usize = 15_000;

/// What a process that holds sockets is told, a line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// The first: the crowd, and which part of it is yours.
    Sit(Box<Crowd>, usize),
    /// Connect.
    Connect,
    /// Note the lateness of events due from then on, and how long returns take from then on.
    Record(u64),
    /// End, after so many events in all.
    Finish(u64),
}

/// What it says, a line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Word {
    /// It could connect now.
    Ready,
    /// So it stands.
    Progress(Progress),
    /// The end.
    Done(Box<Tally>),
}

/// How a process stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Sockets that are open and subscribed.
    pub connected: u64,
    /// Notifications of this run that were read.
    pub received: u64,
    /// Attempts to connect that failed.
    pub refused: u64,
    /// The longest latency since the last word, in microseconds.
    pub worst_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_of_all_sockets_is_what_is_sent_to_their_users() {
        let mut crowd = Crowd::of(10, Vec::new(), Tokens::Secret(String::new()));
        assert_eq!(crowd.expected(23), 23);
        crowd.users = Users::Numbered(5);
        assert_eq!(crowd.expected(23), 46);
        crowd.stalled_every = 10;
        assert_eq!(crowd.expected(23), 41);
        crowd.seats = 3;
        let parts: Vec<_> = (0..3).flat_map(|seat| crowd.sockets_of(seat)).collect();
        assert_eq!(parts, (0..10).collect::<Vec<_>>());
    }
}
