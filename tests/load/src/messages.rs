//! Messages between the load tester and its client processes: one line of JSON each, commands on
//! standard input and reports on standard output.

use serde::{Deserialize, Serialize};

use super::{plan::ClientPlan, stats::ClientStats};

/// What a client process is to do next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// The first command: the plan, and the number of this process in it.
    Start(Box<ClientPlan>, usize),
    /// Connect all sockets.
    Connect,
    /// Record latencies of events scheduled from this time on, and reconnect times from now on.
    RecordFrom(u64),
    /// Report the statistics after this number of events in all, and exit.
    Finish(u64),
}

/// What a client process reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Report {
    /// All tokens are signed.
    Ready,
    /// The current progress, sent when it has changed.
    Progress(Progress),
    /// The final statistics.
    Finished(Box<ClientStats>),
}

/// Progress of a client process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Sockets that are open and subscribed.
    pub connected: u64,
    /// Notifications of this run received.
    pub received: u64,
    /// Failed attempts to connect.
    pub refused: u64,
    /// Highest latency since the previous report, in microseconds.
    pub worst_us: u64,
}
