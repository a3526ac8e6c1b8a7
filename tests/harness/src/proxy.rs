//! A TCP proxy in front of a server on this machine. Everything passes until it is told to
//! misbehave, which may happen while connections are open. TCP loses nothing in mid-stream, so
//! neither does this: a connection that lost something is reset as soon as the fault ends.

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

/// What happens to connections, open and new ones alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: everything passes.
    None,
    /// Everything is swallowed and nothing is closed.
    Blackhole,
    /// Every connection is reset.
    Reset,
    /// So many more bytes of the server pass on each connection; what follows waits.
    StallReplies(usize),
    /// The server gets everything, and what it sends is swallowed.
    DropReplies,
    /// Whatever is read takes this much longer to pass.
    Delay(Duration),
}

/// The faults, short of none, as a scenario goes through them. A stall after 20 bytes is in the
/// middle of most replies.
pub const FAULTS: [Fault; 5] = [
    Fault::Blackhole,
    Fault::Reset,
    Fault::StallReplies(20),
    Fault::DropReplies,
    Fault::Delay(Duration::from_millis(100)),
];

/// A running proxy; it and its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port in front of `server`, which need not be there yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for a proxy")?;
        let address = listener.local_addr()?;
        let (fault, seen) = watch::channel(Fault::None);
        let accepting = tokio::spawn(accept(listener, server, seen));
        Ok(Self { address, fault, accepting })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, this happens to all connections.
    pub fn set_fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, fault: watch::Receiver<Fault>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Nothing is wrong with the listener: that client has gone again.
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(connect(client, server, fault.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Lasts as long as the connection. Errors end both sides with a reset.
async fn connect(mut client: TcpStream, server: SocketAddr, fault: watch::Receiver<Fault>) {
    let Ok(mut server) = TcpStream::connect(server).await else {
        return drop(client.set_zero_linger());
    };
    // Only delays that were asked for; without this a fault-free proxy would add some.
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let upstream = Direction { replies: false, fault: fault.clone(), passed: 0, lost: false };
    let back = Direction { replies: true, fault, passed: 0, lost: false };
    let upstream = upstream.forward(from_client, to_server);
    if tokio::try_join!(upstream, back.forward(from_server, to_client)).is_err() {
        // Whoever is gone already needs no reset.
        drop((client.set_zero_linger(), server.set_zero_linger()));
    }
}

/// One direction of a connection.
struct Direction {
    /// Whether it is the server that sends.
    replies: bool,
    fault: watch::Receiver<Fault>,
    /// How many bytes have passed since the fault began.
    passed: usize,
    /// Whether something was swallowed.
    lost: bool,
}

impl Direction {
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
                    self.begin(changed.is_ok())?;
                    continue;
                }
                read = from.read(&mut buffer) => read?,
            };
            if length == 0 {
                return self.end(to).await;
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

    /// Another fault begins, if the proxy is still there.
    fn begin(&mut self, goes_on: bool) -> io::Result<()> {
        self.passed = 0;
        let is_reset = self.lost || !goes_on || *self.fault.borrow() == Fault::Reset;
        if is_reset { Err(ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }

    /// How many of the bytes that wait may pass now; none: they are swallowed.
    async fn allowed(&mut self, waiting: usize) -> io::Result<usize> {
        loop {
            // What follows a loss may not pass, even if the fault ends at this moment.
            if self.lost && self.fault.has_changed().unwrap_or(true) {
                return Ok(0);
            }
            let fault = *self.fault.borrow();
            match fault {
                Fault::Reset => return Err(ErrorKind::ConnectionReset.into()),
                Fault::Blackhole => return Ok(0),
                Fault::DropReplies if self.replies => return Ok(0),
                Fault::StallReplies(limit) if self.replies && self.passed >= limit => {
                    let changed = self.fault.changed().await;
                    self.begin(changed.is_ok())?;
                }
                Fault::StallReplies(limit) if self.replies => {
                    return Ok(waiting.min(limit - self.passed));
                }
                Fault::Delay(time) => {
                    sleep(time).await;
                    return Ok(waiting);
                }
                Fault::None | Fault::DropReplies | Fault::StallReplies(_) => return Ok(waiting),
            }
        }
    }

    /// The sender has closed its side, which a blackhole swallows like anything else.
    async fn end(&mut self, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        if *self.fault.borrow() == Fault::Blackhole {
            self.lost = true;
            let changed = self.fault.changed().await;
            self.begin(changed.is_ok())?;
        }
        to.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A proxy in front of a server that says everything twice, and a connection through it.
    async fn doubled() -> (Proxy, TcpStream) {
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

    /// What arrives while nothing more does for a while.
    async fn arrives(client: &mut TcpStream) -> io::Result<Vec<u8>> {
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
    async fn a_stalled_reply_goes_on_where_it_stopped() {
        let (proxy, mut client) = doubled().await;
        client.write_all(b"a").await.unwrap();
        assert_eq!(arrives(&mut client).await.unwrap(), b"aa");
        proxy.set_fault(Fault::StallReplies(3));
        client.write_all(b"bc").await.unwrap();
        assert_eq!(arrives(&mut client).await.unwrap(), b"bbc");
        proxy.set_fault(Fault::None);
        assert_eq!(arrives(&mut client).await.unwrap(), b"c");
    }

    #[tokio::test]
    async fn a_connection_that_lost_something_is_reset_when_the_fault_ends() {
        for fault in [Fault::Blackhole, Fault::DropReplies] {
            let (proxy, mut client) = doubled().await;
            proxy.set_fault(fault);
            client.write_all(b"a").await.unwrap();
            assert_eq!(arrives(&mut client).await.unwrap(), b"");
            proxy.set_fault(Fault::None);
            let error = arrives(&mut client).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_reset_ends_idle_connections_too() {
        let (proxy, mut client) = doubled().await;
        client.write_all(b"a").await.unwrap();
        assert_eq!(arrives(&mut client).await.unwrap(), b"aa");
        proxy.set_fault(Fault::Reset);
        let error = arrives(&mut client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
