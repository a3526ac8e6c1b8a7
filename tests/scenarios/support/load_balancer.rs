//! A TCP load balancer like a Kubernetes Service: each new connection goes to the next backend;
//! open connections stay where they are.

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

/// A running load balancer; it and its connections end on drop.
#[derive(Debug)]
pub struct LoadBalancer {
    address: SocketAddr,
    backends: Arc<Mutex<Vec<SocketAddr>>>,
    accepting: JoinHandle<()>,
}

impl LoadBalancer {
    /// Starts a load balancer on a free port, without backends.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the load balancer")?;
        let address = listener.local_addr()?;
        let backends = Arc::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&backends)));
        Ok(Self { address, backends, accepting })
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to these backends from now on.
    pub fn set_backends(&self, backends: impl IntoIterator<Item = SocketAddr>) {
        *self.backends.lock().unwrap_or_else(PoisonError::into_inner) =
            backends.into_iter().collect();
    }
}

impl Drop for LoadBalancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, backends: Arc<Mutex<Vec<SocketAddr>>>) {
    let mut connections = JoinSet::new();
    for turn in 0.. {
        // The client has disconnected before it was accepted.
        let Ok((client, _)) = listener.accept().await else { continue };
        let next = {
            let backends = backends.lock().unwrap_or_else(PoisonError::into_inner);
            backends.get(turn % backends.len().max(1)).copied()
        };
        // Without a backend the client's connection is dropped.
        if let Some(backend) = next {
            connections.spawn(connect(client, backend));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(mut client: TcpStream, backend: SocketAddr) {
    let Ok(mut backend) = TcpStream::connect(backend).await else { return };
    // Nagle's algorithm would add latency.
    drop((client.set_nodelay(true), backend.set_nodelay(true)));
    // Both ends see a broken connection themselves.
    drop(copy_bidirectional(&mut client, &mut backend).await);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// A backend that sends one byte to each client.
    async fn backend(byte: u8) -> SocketAddr {
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
    async fn each_connection_goes_to_the_next_backend() {
        let balancer = LoadBalancer::start().await.unwrap();
        let read = async || {
            let mut client = TcpStream::connect(balancer.address()).await?;
            client.read_u8().await
        };
        assert!(read().await.is_err(), "there are no backends");
        let [one, two] = [backend(1).await, backend(2).await];
        balancer.set_backends([one, two]);
        let mut bytes = [read().await.unwrap(), read().await.unwrap()];
        bytes.sort_unstable();
        assert_eq!(bytes, [1, 2]);
        balancer.set_backends([two]);
        assert_eq!(read().await.unwrap(), 2);
    }
}
