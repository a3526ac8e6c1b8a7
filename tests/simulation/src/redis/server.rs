//! The server process: its keys, its subscribers, and which node is the master.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use shared::keys::HISTORY_CHANGED;
use tokio::time::Instant;

use super::{
    commands,
    current_faults::Faults,
    database::{Database, ReadState, Write},
    output::Output,
    read_state,
    reply::Reply,
    store::{Refusal, Store},
};
use crate::{
    network::Link,
    simulation::{Sim, trace},
};

/// How many writes a failover can go back.
const SNAPSHOTS: usize = 24;

/// A simulated Redis. Clones share it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(super) sim: Sim,
    state: Arc<Mutex<State>>,
}

pub(super) struct State {
    /// One per failover; the last is the master, and clients that connect now reach it.
    pub(super) nodes: Vec<Node>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) next_connection: u64,
    /// The keys before each of the last writes, and how many notifications were published then.
    pub(super) snapshots: VecDeque<(Store, usize)>,
    pub(super) faults: Faults,
}

#[derive(Default)]
pub(super) struct Node {
    pub(super) store: Store,
    pub(super) has_script: bool,
}

/// A connection of a client.
pub(super) struct Connection {
    pub(super) host: Host,
    pub(super) link: Link,
    pub(super) channels: BTreeSet<String>,
    pub(super) output: Output,
    pub(super) node: usize,
}

/// A process that connects to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Worker(usize),
    Gateway(usize),
}

impl Server {
    pub(crate) fn new(sim: &Sim) -> Self {
        let mut node = Node::default();
        node.store.trim_slack = sim.plan.trim_slack;
        let state = State {
            nodes: vec![node],
            connections: BTreeMap::new(),
            next_connection: 0,
            snapshots: VecDeque::new(),
            faults: Faults::default(),
        };
        Self { sim: sim.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// Cuts every connection of a host.
    pub(crate) fn cut_host(&self, host: Host) {
        let state = self.state();
        let of_host = state.connections.values().filter(|connection| connection.host == host);
        of_host.for_each(|connection| connection.link.cut(false));
    }

    /// Runs a command of a connection; the reply goes to its output.
    pub(super) fn execute(&self, id: u64, command: &[Vec<u8>]) {
        if command[0] == b"EVALSHA" {
            self.flush_if_due();
        }
        let mut state = self.state();
        let Some(connection) = state.connections.get(&id) else { return };
        let (node, output) = (connection.node, connection.output.clone());
        let is_late = !connection.link.is_open();
        let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
        let is_loading = state.faults.loading_until.is_some_and(|until| until > Instant::now());
        if is_loading && name != "HELLO" && name != "CLIENT" {
            output.push(&Reply::Error("LOADING Redis is loading the dataset in memory".into()));
            return;
        }
        match name.as_str() {
            "SUBSCRIBE" | "UNSUBSCRIBE" => state.subscribe(id, &name, &command[1..]),
            "HELLO" => output.push(&Reply::hello(node + 1 == state.nodes.len())),
            "CLIENT" | "SELECT" => output.push(&Reply::Ok),
            "PING" => output.push(&Reply::Simple("PONG")),
            _ => {
                state.begin_write(command, node, &self.sim);
                let mut db = NodeDatabase { state: &mut state, node, sim: &self.sim, is_late };
                let reply = commands::run(&mut db, command);
                if let Reply::Error(error) = &reply {
                    trace!(self.sim, "redis refuses {name} of {id}: {error}");
                }
                if commands::is_full_page(command, &reply) {
                    self.sim.reach("a page of a history was full");
                }
                if name == "SET" && reply == Reply::Ok {
                    self.sim.oracle.key_stored(&commands::text(&command[1]));
                }
                output.push(&reply);
                state.lose_reply(&name, id, &self.sim);
            }
        }
    }

    /// Returns the read state of a user, as the master has it.
    pub(crate) fn read_state(&self, user: &str) -> ReadState {
        let keys = ["stream", "start", "position", "read"];
        let keys = keys.map(|kind| format!("ws:{kind}:{{{user}}}"));
        let mut state = self.state();
        let store = &mut state.master().store;
        store.now = self.sim.now_ms();
        read_state::read(store, &keys, None)
    }

    /// Runs commands of an operator on the master until one fails.
    pub(super) fn administer(&self, commands: &[[&str; 4]]) -> bool {
        let (mut state, sim) = (self.state(), &self.sim);
        let node = state.nodes.len() - 1;
        commands.iter().all(|command| {
            let command = command.iter().filter(|part| !part.is_empty());
            let command: Vec<Vec<u8>> = command.map(|part| part.as_bytes().to_vec()).collect();
            state.begin_write(&command, node, sim);
            let mut db = NodeDatabase { state: &mut state, node, sim, is_late: false };
            !matches!(commands::run(&mut db, &command), Reply::Error(_))
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds this lock")
    }

    pub(super) fn close(&self, id: u64) {
        self.state().connections.remove(&id);
    }
}

impl State {
    pub(super) fn master(&mut self) -> &mut Node {
        self.nodes.last_mut().expect("there is always a node")
    }

    fn begin_write(&mut self, command: &[Vec<u8>], node: usize, sim: &Sim) {
        let now = sim.now_ms();
        self.nodes[node].store.now = now;
        let is_write = matches!(&command[0][..], b"SET" | b"EVAL" | b"EVALSHA" | b"ZADD");
        if node + 1 == self.nodes.len() && is_write && !commands::is_page(command) {
            let before = (self.nodes[node].store.clone(), sim.oracle.published_count());
            self.snapshots.push_back(before);
            if self.snapshots.len() > SNAPSHOTS {
                self.snapshots.pop_front();
            }
        }
    }

    fn lose_reply(&mut self, name: &str, id: u64, sim: &Sim) {
        let lost = match name {
            "SET" | "EVALSHA" => &mut self.faults.lost_replies,
            "GET" | "XRANGE" | "EVAL" => &mut self.faults.lost_reads,
            _ => return,
        };
        if let Some(torn) = lost.pop()
            && let Some(connection) = self.connections.get(&id)
        {
            trace!(sim, "redis loses the reply to {name} of {id}");
            let is_write = matches!(name, "SET" | "EVALSHA");
            let read = "a reply to a read was lost";
            sim.reach(if is_write { "a reply to a write was lost" } else { read });
            connection.output.cut_after(torn);
        }
    }

    fn subscribe(&mut self, id: u64, name: &str, channels: &[Vec<u8>]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for channel in channels {
            let channel = String::from_utf8_lossy(channel).into_owned();
            if name == "SUBSCRIBE" {
                connection.channels.insert(channel.clone());
            } else {
                connection.channels.remove(&channel);
            }
            let count = i64::try_from(connection.channels.len()).unwrap_or(i64::MAX);
            let kind = Reply::text(name.to_ascii_lowercase());
            connection.output.push(&Reply::Push(vec![
                kind,
                Reply::text(channel),
                Reply::Int(count),
            ]));
        }
    }
}

/// The database of one node.
struct NodeDatabase<'a> {
    state: &'a mut State,
    node: usize,
    sim: &'a Sim,
    /// Whether the client has given up the connection on which the command was on its way.
    is_late: bool,
}

impl Database for NodeDatabase<'_> {
    fn store(&mut self) -> &mut Store {
        &mut self.state.nodes[self.node].store
    }

    fn allow(&mut self, write: Write) -> Result<(), Refusal> {
        if self.node + 1 < self.state.nodes.len() {
            self.sim.reach("a demoted master refused a write");
            return Err("READONLY You can't write against a read only replica.".into());
        }
        match self.state.faults.refusal {
            Some((refused, percent, error, until))
                if (refused == Write::Other || write == Write::AddsMemory)
                    && until > Instant::now()
                    && self.sim.chance(percent) =>
            {
                self.sim.reach("Redis refused a write");
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    fn publish(&mut self, channel: &str, message: &[u8]) -> Result<i64, Refusal> {
        // PUBLISH is no write: only what the oracle knows is refused.
        if channel.starts_with("ws:") && message != HISTORY_CHANGED {
            self.allow(Write::Other)?;
            let is_marked = self.store().is_marked();
            self.sim.oracle.published(channel, message, self.is_late, is_marked);
        }
        let push = [Reply::text("message"), Reply::text(channel), Reply::Bulk(message.into())];
        let mut receivers = 0;
        for connection in self.state.connections.values() {
            if connection.node == self.node && connection.channels.contains(channel) {
                connection.output.push(&Reply::Push(push.to_vec()));
                receivers += 1;
            }
        }
        Ok(receivers)
    }

    fn stored(&mut self, channel: &str, message: &[u8]) {
        let is_marked = self.store().is_marked();
        self.sim.oracle.stored(channel, message, is_marked);
    }

    fn counted(&mut self, stream: &str, state: &ReadState) {
        // A former master does not know what its successor has.
        if self.node + 1 == self.state.nodes.len() {
            self.sim.oracle.read_state_counted(stream, state, &self.store().ids(stream));
        }
    }

    fn position_refused(&mut self, stream: &str) {
        self.sim.oracle.position_refused(stream);
    }

    fn has_scripts(&mut self) -> bool {
        self.state.nodes[self.node].has_script
    }

    fn load_scripts(&mut self) {
        self.state.nodes[self.node].has_script = true;
    }
}
