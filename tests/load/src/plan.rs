//! The clients of a load test: how many sockets, of which users, through which gateways.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::tokens::{Claims, Tokens};

/// The users of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Users {
    /// This many, named after the run.
    Numbered(usize),
    /// Users of given tokens.
    Named(Vec<String>),
}

/// The clients of a load test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientPlan {
    /// Gateway addresses, `ws://host:port/ws`, assigned to sockets in turn.
    pub gateways: Vec<String>,
    /// Letters and digits that identify the run.
    pub run: String,
    /// The users, assigned to sockets in turn.
    pub users: Users,
    /// Number of sockets.
    pub sockets: usize,
    /// Where the tokens come from.
    pub tokens: Tokens,
    /// Claims added to signed tokens.
    pub claims: Claims,
    /// Number of processes that hold the sockets.
    pub processes: usize,
    /// Handshakes that a process has in flight at once; reconnects are not limited.
    pub concurrent_handshakes: usize,
    /// Every n-th socket stops reading once it is connected; 0: none.
    pub stalled_every: usize,
    /// Mean time after which a client disconnects and resumes, in milliseconds; 0: never.
    pub session_ms: u64,
    /// Whether a client whose connection ends resumes at the next gateway.
    pub reconnect: bool,
    /// Whether all clients start at the first gateway.
    pub start_at_first_gateway: bool,
    /// Whether connections come from 127.0.0.2 and up, `SOCKETS_PER_ADDRESS` from each: an
    /// address has about 28,000 ports, and Linux searches long for a free one once a quarter of
    /// them is in use.
    pub loopback_sources: bool,
}

impl ClientPlan {
    /// `sockets` sockets of as many users that stay connected and read.
    #[must_use]
    pub fn new(sockets: usize, gateways: Vec<String>, tokens: Tokens) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        let loopback_sources = gateways.iter().all(|url| url.contains("//127."));
        Self {
            gateways,
            run,
            users: Users::Numbered(sockets),
            sockets,
            tokens,
            claims: Claims::default(),
            processes: sockets.div_ceil(MAX_SOCKETS_PER_PROCESS).max(1),
            concurrent_handshakes: 64,
            stalled_every: 0,
            session_ms: 0,
            reconnect: false,
            start_at_first_gateway: false,
            loopback_sources,
        }
    }

    /// Returns the number of users.
    #[must_use]
    pub fn user_count(&self) -> usize {
        match &self.users {
            Users::Numbered(count) => *count,
            Users::Named(names) => names.len(),
        }
    }

    /// Returns the id of a user.
    #[must_use]
    pub fn user(&self, number: usize) -> String {
        match &self.users {
            Users::Numbered(_) => format!("load-{}-{number}", self.run),
            Users::Named(names) => names.get(number).cloned().unwrap_or_default(),
        }
    }

    /// Returns whether a socket stops reading once it is connected.
    #[must_use]
    pub fn is_stalled(&self, socket: usize) -> bool {
        self.stalled_every > 0 && socket.is_multiple_of(self.stalled_every)
    }

    /// Returns how many of `events`, sent to all users in turn, are for the user of a socket.
    #[must_use]
    pub fn expected_by(&self, socket: usize, events: u64) -> u64 {
        let users = self.user_count() as u64;
        let user = socket as u64 % users;
        (events + users - 1 - user) / users
    }

    /// Returns how many notifications all sockets that read expect from `events`.
    #[must_use]
    pub fn expected(&self, events: u64) -> u64 {
        let reading = (0..self.sockets).filter(|socket| !self.is_stalled(*socket));
        reading.map(|socket| self.expected_by(socket, events)).sum()
    }

    /// Returns the sockets of a process.
    #[must_use]
    pub fn sockets_of(&self, process: usize) -> std::ops::Range<usize> {
        let at = |process| self.sockets * process / self.processes;
        at(process)..at(process + 1)
    }

    /// Returns the source address of a socket's connection.
    #[must_use]
    pub fn source_of(&self, socket: usize) -> Option<IpAddr> {
        let number = 2 + socket / SOCKETS_PER_ADDRESS;
        let [high, low] = u16::try_from(number).unwrap_or(2).to_be_bytes();
        self.loopback_sources.then_some(Ipv4Addr::new(127, 0, high, low).into())
    }
}

/// Sockets that share a source address.
const SOCKETS_PER_ADDRESS: usize = 2_000;

/// Most sockets in one process; a limit of 20,000 open files is common.
const MAX_SOCKETS_PER_PROCESS: usize = 15_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_expect_what_is_sent_to_their_users() {
        let mut plan = ClientPlan::new(10, Vec::new(), Tokens::Secret(String::new()));
        assert_eq!(plan.expected(23), 23);
        plan.users = Users::Numbered(5);
        assert_eq!(plan.expected(23), 46);
        plan.stalled_every = 10;
        assert_eq!(plan.expected(23), 41);
        plan.processes = 3;
        let parts: Vec<_> = (0..3).flat_map(|process| plan.sockets_of(process)).collect();
        assert_eq!(parts, (0..10).collect::<Vec<_>>());
    }
}
