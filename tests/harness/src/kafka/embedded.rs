//! The broker inside librdkafka. It cannot move between threads, so one thread owns it and takes
//! orders; it ends with its handle.

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
    orders: Option<Mutex<mpsc::Sender<Order>>>,
    thread: Option<JoinHandle<()>>,
}

struct Order {
    topic: String,
    partitions: i32,
    done: mpsc::Sender<anyhow::Result<()>>,
}

impl Embedded {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let (started, start) = mpsc::channel();
        let thread = thread::Builder::new().name("embedded-broker".into()).spawn(move || {
            let cluster = match MockCluster::new(1) {
                Ok(cluster) => cluster,
                // The receiver waits below.
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(cluster.bootstrap_servers())));
            for order in inbox {
                let result = cluster.create_topic(&order.topic, order.partitions, 1);
                // Whoever ordered waits for the answer.
                drop(order.done.send(result.context("create a topic")));
            }
        })?;
        let address = start.recv()?.context("start the embedded broker")?;
        Ok(Self { address, orders: Some(Mutex::new(orders)), thread: Some(thread) })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn create_topic(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        let (done, result) = mpsc::channel();
        let order = Order { topic: topic.to_owned(), partitions, done };
        let orders = self.orders.as_ref().context("the embedded broker has ended")?;
        orders.lock().unwrap_or_else(PoisonError::into_inner).send(order)?;
        result.recv()?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Without orders the thread ends, and the broker with it.
        self.orders = None;
        self.thread.take().map(JoinHandle::join);
    }
}
