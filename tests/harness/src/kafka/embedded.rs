//! The mock broker of librdkafka. It cannot move between threads, so one thread owns it and
//! executes requests; it ends with its handle.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::Context as _;
use rdkafka::mocking::MockCluster;

/// A running embedded broker.
#[derive(Debug)]
pub(super) struct Embedded {
    address: String,
    requests: Option<Mutex<mpsc::Sender<CreateTopic>>>,
    thread: Option<JoinHandle<()>>,
}

struct CreateTopic {
    topic: String,
    partitions: i32,
    done: mpsc::Sender<anyhow::Result<()>>,
}

impl Embedded {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (requests, inbox) = mpsc::channel::<CreateTopic>();
        let (started, start) = mpsc::channel();
        let thread = thread::Builder::new().name("embedded-broker".into()).spawn(move || {
            let cluster = match MockCluster::new(1) {
                Ok(cluster) => cluster,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(cluster.bootstrap_servers())));
            for CreateTopic { topic, partitions, done } in inbox {
                let result = cluster.create_topic(&topic, partitions, 1);
                drop(done.send(result.with_context(|| format!("create topic {topic}"))));
            }
        })?;
        let address = start.recv()?.context("start the embedded broker")?;
        Ok(Self { address, requests: Some(Mutex::new(requests)), thread: Some(thread) })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn create_topic(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let (done, result) = mpsc::channel();
        let request = CreateTopic { topic: topic.to_owned(), partitions, done };
        let requests = self.requests.as_ref().context("the embedded broker has ended")?;
        requests.lock().unwrap_or_else(PoisonError::into_inner).send(request)?;
        result.recv()?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Ends the thread, and the broker with it.
        self.requests = None;
        self.thread.take().map(JoinHandle::join);
    }
}
