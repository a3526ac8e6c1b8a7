//! An HTTP proxy that restricts traffic as inspection proxies and antivirus programs do. It serves
//! one request per connection.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// The largest head of a request or response.
const MAX_HEAD: usize = 64 << 10;

/// What the proxy does not let through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restrictions {
    /// Answers an upgrade with 403.
    pub refuses_upgrades: bool,
    /// Holds an event stream back until it ends.
    pub buffers_streams: bool,
    /// Cuts a connection after this time.
    pub longest_connection: Option<Duration>,
}

/// A running proxy; it and its connections end on drop.
#[derive(Debug)]
pub struct InspectionProxy {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl InspectionProxy {
    /// Starts a proxy on a free port in front of a server.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(server: SocketAddr, restrictions: Restrictions) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the proxy")?;
        let address = listener.local_addr()?;
        Ok(Self { address, accepting: tokio::spawn(accept(listener, server, restrictions)) })
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for InspectionProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, restrictions: Restrictions) {
    let mut connections = JoinSet::new();
    // The client may have disconnected before it was accepted.
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(async move {
            let limit = restrictions.longest_connection.unwrap_or(Duration::MAX);
            // Both ends see a broken connection themselves.
            drop(timeout(limit, serve(client, server, restrictions)).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    restrictions: Restrictions,
) -> io::Result<()> {
    let request = read_head(&mut client).await?;
    let is_upgrade = has_line(&request, "upgrade:");
    if is_upgrade && restrictions.refuses_upgrades {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    }
    let mut server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    if is_upgrade {
        server.write_all(&request).await?;
        return copy_bidirectional(&mut client, &mut server).await.map(drop);
    }
    let lines = &request[..request.len() - 2];
    server.write_all(&[lines, b"connection: close\r\n\r\n"].concat()).await?;
    let exchange = async {
        let mut response = read_head(&mut server).await?;
        if restrictions.buffers_streams && has_line(&response, "content-type: text/event-stream") {
            server.read_to_end(&mut response).await?;
        }
        client.write_all(&response).await?;
        io::copy(&mut server, &mut client).await
    };
    exchange.await?;
    client.shutdown().await
}

/// Reads up to the empty line. What follows is returned as well, as far as it was read.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

/// Whether a line of the head begins with this text, in lower case.
fn has_line(head: &[u8], start: &str) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    head.split("\r\n").take_while(|line| !line.is_empty()).any(|line| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_whatever_its_case_and_not_in_the_body() {
        let head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\nb: 1\r\n";
        assert!(has_line(head, "upgrade:"));
        assert!(!has_line(head, "b:"));
    }
}
