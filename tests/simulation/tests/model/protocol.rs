//! The states and the steps of the model, and what must hold in each state.

mod effects;
mod rules;

pub(crate) use rules::RULES;
use rules::Rule;

/// The events, by their offsets.
const EVENTS: u8 = 2;

/// The number of faults: every combination of two is tried.
const MAX_FAULTS: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The partition moves to the other worker.
    Rebalance,
    /// A worker reads its next record.
    Read(usize),
    /// The script runs for the record that a worker has read; the reply arrives or is lost.
    Publish(usize, bool),
    /// A worker commits what it has finished.
    Commit(usize),
    /// A worker is killed and starts again.
    Crash(usize),
    /// The replica receives the next write.
    Replicate,
    /// The replica becomes the master.
    FailOver,
    /// The oldest entry of the stream is deleted, as it has too many.
    Trim,
    /// The gateway loses its session, and everything on its way.
    LoseSession,
    /// The gateway reads where the user's stream ends, if it does not know a position.
    ReadStart,
    /// The gateway subscribes.
    Subscribe,
    /// The gateway reads the stream and closes the gap.
    Repair,
    /// The gateway receives the next push.
    Receive,
    /// The client's connection is registered.
    Connect,
    /// The history after the client's position is read and sent, then the queue.
    Resume,
    /// The client loses its connection, and what is in its queue.
    Disconnect,
}

/// A position in the user's stream; 0 is the one before the first entry.
type Id = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    id: Id,
    event: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Worker {
    owns: bool,
    /// The next offset to read.
    next: u8,
    /// The record that was read and is not finished.
    in_flight: Option<u8>,
    finished: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Session {
    #[default]
    Lost,
    /// The position is known.
    Started,
    Subscribed,
    Live,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Client {
    is_connected: bool,
    /// Whether its history was sent.
    is_open: bool,
    queue: Vec<Id>,
    /// The newest frame on this connection.
    newest: Id,
    /// Frames up to here were in the history that was sent.
    replayed_to: Id,
    position: Id,
    received: Vec<Id>,
    /// What it need not receive: a gap was reported, or it was there before the client.
    waived: Vec<Id>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    workers: [Worker; 2],
    committed: u8,
    /// The user's stream; the claims are its events, as one script writes both.
    stream: Vec<Entry>,
    /// The number of entries that were deleted; their claims are kept.
    trimmed: usize,
    replicated: usize,
    last_id: Id,
    /// Every entry that there ever was, and those that a failover has lost.
    published: Vec<Entry>,
    lost: Vec<Id>,
    session: Session,
    /// The position from which the gateway continues.
    position: Option<Id>,
    pushes: Vec<Id>,
    held: Vec<Id>,
    client: Client,
    duplicate: bool,
    disorder: bool,
    faults: u8,
    /// The rule that this protocol does not follow.
    without: Option<Rule>,
}

impl State {
    /// The initial state of the protocol, possibly without one of its rules.
    pub(crate) fn start(without: Option<Rule>) -> Self {
        let mut state = Self { without, ..Self::default() };
        state.workers[0].owns = true;
        state
    }

    /// Returns the steps that can happen.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let (mut steps, may_fail) = (Vec::new(), self.faults < MAX_FAULTS);
        for (index, worker) in self.workers.iter().enumerate() {
            let reads = worker.owns && worker.in_flight.is_none() && worker.next < EVENTS;
            let publishes = worker.in_flight.is_some();
            let commits = worker.owns && self.committable(index) > self.committed;
            let candidates = [
                (reads, Step::Read(index)),
                (publishes, Step::Publish(index, true)),
                (publishes && may_fail, Step::Publish(index, false)),
                (commits, Step::Commit(index)),
                (worker.owns && may_fail, Step::Crash(index)),
            ];
            steps.extend(candidates.into_iter().filter(|(can, _)| *can).map(|(_, step)| step));
        }
        let Client { is_connected, is_open, .. } = self.client;
        let candidates = [
            (may_fail, Step::Rebalance),
            (self.replicated < self.stream.len(), Step::Replicate),
            (may_fail, Step::FailOver),
            (may_fail && self.trimmed + 1 < self.stream.len(), Step::Trim),
            (self.session != Session::Lost && may_fail, Step::LoseSession),
            (self.session == Session::Lost, Step::ReadStart),
            (self.session == Session::Started, Step::Subscribe),
            (self.session == Session::Subscribed, Step::Repair),
            (!self.pushes.is_empty(), Step::Receive),
            (!is_connected, Step::Connect),
            (is_connected && !is_open && self.session == Session::Live, Step::Resume),
            (is_connected && may_fail, Step::Disconnect),
        ];
        steps.extend(candidates.into_iter().filter(|(can, _)| *can).map(|(_, step)| step));
        steps
    }

    /// Returns the state after a step.
    pub(crate) fn after(&self, step: Step) -> Self {
        let mut state = self.clone();
        match step {
            Step::Rebalance => state.rebalance(),
            Step::Read(worker) => {
                let worker = &mut state.workers[worker];
                worker.in_flight = Some(worker.next);
                worker.next += 1;
            }
            Step::Publish(worker, is_answered) => state.publish(worker, is_answered),
            Step::Commit(worker) => state.committed = state.committable(worker),
            Step::Crash(worker) => {
                state.faults += 1;
                state.workers[worker] = Worker::default();
                state.assign(1 - worker);
            }
            Step::Replicate => state.replicated += 1,
            Step::FailOver => state.fail_over(),
            Step::Trim => {
                state.faults += 1;
                state.trimmed += 1;
            }
            Step::LoseSession => {
                state.faults += 1;
                state.end_session();
            }
            Step::ReadStart => {
                let end = state.stream.last().map_or(0, |entry| entry.id);
                state.position.get_or_insert(end);
                state.session = Session::Started;
            }
            Step::Subscribe => state.session = Session::Subscribed,
            Step::Repair => state.repair(),
            Step::Receive => {
                let id = state.pushes.remove(0);
                let holds =
                    state.session != Session::Live && state.follows(Rule::HoldUntilRepaired);
                if holds { state.held.push(id) } else { state.forward(id) }
            }
            Step::Connect => (state.client.is_connected, state.client.newest) = (true, 0),
            Step::Resume => state.resume(),
            Step::Disconnect => {
                state.faults += 1;
                (state.client.is_connected, state.client.is_open) = (false, false);
                state.client.queue.clear();
            }
        }
        state
    }

    /// Returns the invariant that does not hold.
    pub(crate) fn violation(&self) -> Option<&'static str> {
        let was_published = |event| self.published.iter().any(|entry| entry.event == event);
        if !(0..self.committed).all(was_published) {
            return Some("a record is committed and was never published");
        }
        if self.duplicate {
            return Some("an event was published twice");
        }
        if self.disorder {
            return Some("the client received a frame twice or out of order");
        }
        let Client { received, waived, .. } = &self.client;
        let newest = received.last().copied().unwrap_or(0);
        let is_missing = |entry: &&Entry| {
            let id = &entry.id;
            *id < newest
                && !received.contains(id)
                && !waived.contains(id)
                && !self.lost.contains(id)
        };
        self.published
            .iter()
            .find(is_missing)
            .map(|_| "the client misses a frame, and was not notified")
    }

    /// Whether everything is published, committed and received.
    pub(crate) fn is_done(&self) -> bool {
        let Client { received, waived, .. } = &self.client;
        let is_known = |entry: &Entry| received.contains(&entry.id) || waived.contains(&entry.id);
        self.committed == EVENTS && self.stream.iter().all(is_known)
    }
}
