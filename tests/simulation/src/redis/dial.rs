//! How the services reach the server.

use std::{collections::BTreeSet, fmt, io, pin::Pin, sync::Arc};

use clap::Parser as _;
use futures_util::future::BoxFuture;
use redis::ConnectionAddr;
use shared::redis::{Dial, RedisClient, RedisSettings, RedisStream};
use tokio::time::{Instant, sleep};

use super::{
    connection,
    output::Output,
    server::{Connection, Host, Server},
};
use crate::{network, plan::SEND_BUFFER_BYTES};

impl Server {
    /// Returns a client of a host.
    pub(crate) fn client(&self, host: Host) -> RedisClient {
        #[derive(clap::Parser)]
        struct Arguments {
            #[command(flatten)]
            redis: RedisSettings,
        }
        let Arguments { redis } = Arguments::parse_from(["redis", "--redis-url=redis://redis"]);
        let network = Arc::new(HostNetwork { server: self.clone(), host });
        RedisClient::with_dial(&redis, network).expect("the URL needs no feature")
    }
}

/// The network between one host and Redis.
struct HostNetwork {
    server: Server,
    host: Host,
}

impl fmt::Debug for HostNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to Redis", self.host)
    }
}

impl Dial for HostNetwork {
    fn dial(&self, _: &ConnectionAddr) -> BoxFuture<'_, io::Result<Pin<Box<dyn RedisStream>>>> {
        Box::pin(async {
            let sim = &self.server.sim;
            sleep(sim.millis(0..3)).await;
            let (client, end, link) = network::connect(sim, sim.millis(0..3), SEND_BUFFER_BYTES);
            let output = Output::default();
            let mut state = self.server.state();
            if state.faults.down_until.is_some_and(|until| until > Instant::now()) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (id, node) = (state.next_connection, state.nodes.len() - 1);
            state.next_connection += 1;
            let (host, channels) = (self.host, BTreeSet::new());
            let connection =
                Connection { host, link: link.clone(), channels, output: output.clone(), node };
            state.connections.insert(id, connection);
            drop(state);
            tokio::spawn(connection::serve(self.server.clone(), id, end, link, output));
            let stream: Pin<Box<dyn RedisStream>> = Box::pin(client);
            Ok(stream)
        })
    }
}
