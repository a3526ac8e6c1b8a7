//! One address in front of several servers, as a Service of Kubernetes is: each new connection goes
//! to the next of those that are in it now; connections that are open stay where they are.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A running balancer; it and its connections end when it is dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    servers: Arc<Mutex<Vec<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

impl Balancer {
    /// A balancer on a free port, with nothing behind it yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for a balancer")?;
        let address = listener.local_addr()?;
        let servers = Arc::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&servers)));
        Ok(Self { address, servers, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, new connections go to these.
    pub fn serve(&self, servers: impl IntoIterator<Item = SocketAddr>) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) =
            servers.into_iter().collect();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, servers: Arc<Mutex<Vec<SocketAddr>>>) {
    let mut connections = JoinSet::new();
    for turn in 0.. {
        // Nothing is wrong with the listener: that client has gone again.
        let Ok((client, _)) = listener.accept().await else { continue };
        let next = {
            let servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.get(turn % servers.len().max(1)).copied()
        };
        // Without a server, the client is hung up on.
        if let Some(server) = next {
            connections.spawn(connect(client, server));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(mut client: TcpStream, server: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    // Only delays that were asked for.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    // Whoever breaks a connection knows it.
    drop(copy_bidirectional(&mut client, &mut server).await);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A server that says one byte to everybody.
    async fn server(byte: u8) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                client.writable().await.unwrap();
                client.try_write(&[byte]).unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn each_connection_goes_to_the_next_of_those_that_are_there() {
        let balancer = Balancer::start().await.unwrap();
        let hear = async || {
            let mut client = TcpStream::connect(balancer.address()).await?;
            client.read_u8().await
        };
        assert!(hear().await.is_err(), "nobody is there");
        let [one, two] = [server(1).await, server(2).await];
        balancer.serve([one, two]);
        let mut heard = [hear().await.unwrap(), hear().await.unwrap()];
        heard.sort_unstable();
        assert_eq!(heard, [1, 2]);
        balancer.serve([two]);
        assert_eq!(hear().await.unwrap(), 2);
    }
}
