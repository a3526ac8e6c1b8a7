//! A TCP proxy that injects faults, also into open connections. TCP never loses bytes in
//! mid-stream, so a connection that lost some is reset when the fault ends.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// A fault of all connections, open and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// Bytes in both directions are discarded; nothing is closed.
    Blackhole,
    /// As [`Fault::Blackhole`] for connections that are open already; new ones have no fault.
    BlackholeOpen,
    /// Every connection is reset.
    Reset,
    /// The server's bytes stall after this many more on each connection.
    StallReplies(usize),
    /// The server's bytes are discarded; the client's pass.
    DropReplies,
    /// Every read is delayed.
    Delay(Duration),
}

/// Every kind of fault. A stall after 20 bytes is in the middle of most replies.
pub const FAULTS: [Fault; 5] = [
    Fault::Blackhole,
    Fault::Reset,
    Fault::StallReplies(20),
    Fault::DropReplies,
    Fault::Delay(Duration::from_millis(100)),
];

/// A running proxy; it and its connections end on drop.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    server: watch::Sender<SocketAddr>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy on a free port in front of `server`, which may start later.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("bind the proxy")?;
        let address = listener.local_addr()?;
        let (fault, seen) = watch::channel(Fault::None);
        let (server, current) = watch::channel(server);
        let accepting = tokio::spawn(accept(listener, current, seen));
        Ok(Self { address, fault, server, accepting })
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forwards new connections to another server; open ones stay.
    pub fn set_server(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// Sets the fault of all connections.
    pub fn set_fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: watch::Receiver<SocketAddr>,
    fault: watch::Receiver<Fault>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // The client has disconnected before it was accepted.
                let Ok((client, _)) = accepted else { continue };
                let server = *server.borrow();
                connections.spawn(connect(client, server, fault.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Forwards until the connection ends. An error resets both sides.
async fn connect(mut client: TcpStream, server: SocketAddr, fault: watch::Receiver<Fault>) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return drop(client.set_zero_linger());
    };
    // Nagle's algorithm would add latency.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let upstream = Direction::new(false, fault.clone());
    let downstream = Direction::new(true, fault);
    let upstream = upstream.forward(from_client, to_server);
    if tokio::try_join!(upstream, downstream.forward(from_server, to_client)).is_err() {
        drop((client.set_zero_linger(), server.set_zero_linger()));
    }
}

/// One direction of a connection.
struct Direction {
    /// Whether the server is the sender.
    replies: bool,
    fault: watch::Receiver<Fault>,
    /// Bytes forwarded since the fault began.
    passed: usize,
    /// Whether bytes were discarded.
    lost: bool,
    /// Whether it was opened after [`Fault::BlackholeOpen`].
    opened_during_fault: bool,
}

impl Direction {
    fn new(replies: bool, fault: watch::Receiver<Fault>) -> Self {
        let opened_during_fault = *fault.borrow() == Fault::BlackholeOpen;
        Self { replies, fault, passed: 0, lost: false, opened_during_fault }
    }

    async fn forward(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let length = tokio::select! {
                biased;
                changed = self.fault.changed() => {
                    self.switch_fault(changed.is_ok())?;
                    continue;
                }
                read = from.read(&mut buffer) => read?,
            };
            if length == 0 {
                return self.finish(to).await;
            }
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                let amount = self.allowed(rest.len()).await?;
                if amount == 0 {
                    self.lost = true;
                    break;
                }
                to.write_all(&rest[..amount]).await?;
                self.passed += amount;
                rest = &rest[amount..];
            }
        }
    }

    /// Switches to another fault; `is_running` is false when the proxy was dropped.
    fn switch_fault(&mut self, is_running: bool) -> io::Result<()> {
        self.passed = 0;
        let is_reset = self.lost || !is_running || *self.fault.borrow() == Fault::Reset;
        if is_reset { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// Returns how many of the waiting bytes may pass now; 0: they are discarded.
    async fn allowed(&mut self, waiting: usize) -> io::Result<usize> {
        loop {
            // Bytes after a loss must not pass, even if the fault is just ending.
            if self.lost && self.fault.has_changed().unwrap_or(true) {
                return Ok(0);
            }
            let fault = *self.fault.borrow();
            match fault {
                Fault::Reset => return Err(ErrorKind::ConnectionReset.into()),
                Fault::Blackhole => return Ok(0),
                Fault::BlackholeOpen if !self.opened_during_fault => return Ok(0),
                Fault::DropReplies if self.replies => return Ok(0),
                Fault::StallReplies(limit) if self.replies && self.passed >= limit => {
                    let changed = self.fault.changed().await;
                    self.switch_fault(changed.is_ok())?;
                }
                Fault::StallReplies(limit) if self.replies => {
                    return Ok(waiting.min(limit - self.passed));
                }
                Fault::Delay(time) => {
                    sleep(time).await;
                    return Ok(waiting);
                }
                Fault::None
                | Fault::BlackholeOpen
                | Fault::DropReplies
                | Fault::StallReplies(_) => {
                    return Ok(waiting);
                }
            }
        }
    }

    /// Forwards the end of the stream, unless a blackhole discards it.
    async fn finish(&mut self, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        if *self.fault.borrow() == Fault::Blackhole {
            self.lost = true;
            let changed = self.fault.changed().await;
            self.switch_fault(changed.is_ok())?;
        }
        to.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A proxy in front of a server that sends each byte back twice, and a client.
    async fn doubling_server() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            while let Ok(byte) = server.read_u8().await {
                server.write_all(&[byte, byte]).await.unwrap();
            }
        });
        (proxy, client)
    }

    /// Reads until no byte has arrived for 50 ms.
    async fn read_available(client: &mut TcpStream) -> io::Result<Vec<u8>> {
        let (mut all, mut some) = (Vec::new(), [0; 8]);
        while let Ok(read) = timeout(Duration::from_millis(50), client.read(&mut some)).await {
            match read? {
                0 => break,
                length => all.extend(&some[..length]),
            }
        }
        Ok(all)
    }

    #[tokio::test]
    async fn a_stalled_reply_continues_after_the_fault() {
        let (proxy, mut client) = doubling_server().await;
        client.write_all(b"a").await.unwrap();
        assert_eq!(read_available(&mut client).await.unwrap(), b"aa");
        proxy.set_fault(Fault::StallReplies(3));
        client.write_all(b"bc").await.unwrap();
        assert_eq!(read_available(&mut client).await.unwrap(), b"bbc");
        proxy.set_fault(Fault::None);
        assert_eq!(read_available(&mut client).await.unwrap(), b"c");
    }

    #[tokio::test]
    async fn a_connection_that_lost_bytes_is_reset_after_the_fault() {
        for fault in [Fault::Blackhole, Fault::DropReplies] {
            let (proxy, mut client) = doubling_server().await;
            proxy.set_fault(fault);
            client.write_all(b"a").await.unwrap();
            assert_eq!(read_available(&mut client).await.unwrap(), b"");
            proxy.set_fault(Fault::None);
            let error = read_available(&mut client).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_reset_ends_idle_connections() {
        let (proxy, mut client) = doubling_server().await;
        client.write_all(b"a").await.unwrap();
        assert_eq!(read_available(&mut client).await.unwrap(), b"aa");
        proxy.set_fault(Fault::Reset);
        let error = read_available(&mut client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
