//! Opening a WebSocket of the tester: from an address of its own, with TLS if the gateway wants
//! it, until the gateway says that the subscription stands.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use hyper::Uri;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, lookup_host},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use super::wire::{Stream, Wire};

/// Longest answer to the handshake.
const MOST_HEAD: usize = 16 << 10;

/// A gateway, looked up.
#[derive(Clone)]
pub struct Gateway {
    address: SocketAddr,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Gateway {
    /// Reads the address, `ws://` or `wss://`, and looks its host up.
    ///
    /// # Errors
    /// When it is no such address, or the host is not found.
    pub async fn at(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no address"))?;
        let host = uri.host().with_context(|| format!("{url} has no host"))?.to_owned();
        let (port, encrypted) = match uri.scheme_str() {
            Some("ws") => (80, false),
            Some("wss") => (443, true),
            _ => bail!("{url} does not begin with ws:// or wss://"),
        };
        let port = uri.port_u16().unwrap_or(port);
        let bare = host.trim_matches(['[', ']']);
        let address = lookup_host((bare, port)).await?.next();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let tls = if encrypted { Some((connector(), bare.to_owned().try_into()?)) } else { None };
        Ok(Self {
            address: address.with_context(|| format!("{host} has no address"))?,
            authority: format!("{host}:{port}"),
            path,
            tls,
        })
    }

    /// Opens a WebSocket that goes on after the notification `last`, from an address of ours.
    ///
    /// # Errors
    /// When the gateway does not complete the handshake.
    pub async fn open(
        &self,
        from: Option<IpAddr>,
        token: &str,
        last: Option<&str>,
    ) -> anyhow::Result<Wire> {
        let mut stream = self.connect(from).await?;
        stream.write_all(self.request(token, last).as_bytes()).await?;
        let mut read = Vec::with_capacity(512);
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(read.len() < MOST_HEAD, "the answer does not end");
            ensure!(stream.read_buf(&mut read).await? > 0, "no answer to the handshake");
        };
        let status = read.split(|byte| *byte == b'\r').next().unwrap_or_default();
        ensure!(status.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(status));
        Ok(Wire::new(stream, read.split_off(end)))
    }

    async fn connect(&self, from: Option<IpAddr>) -> anyhow::Result<Box<dyn Stream>> {
        let stream = match from {
            None => TcpStream::connect(self.address).await?,
            Some(from) => {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                socket.bind((from, 0).into())?;
                socket.connect(self.address).await?
            }
        };
        stream.set_nodelay(true)?;
        // Closed by a reset: a port that waits for its connection to be forgotten is not free.
        stream.set_zero_linger()?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        })
    }

    fn request(&self, token: &str, last: Option<&str>) -> String {
        let Self { authority, path, .. } = self;
        let mark = if path.contains('?') { '&' } else { '?' };
        let query = last.map_or_else(String::new, |last| format!("{mark}last_event_id={last}"));
        // Nobody but a proxy's cache needs the key to differ.
        format!(
            "GET {path}{query} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: bG9hZC10ZXN0ZXItbG9hZA==\r\n\
             Sec-WebSocket-Protocol: huleedu.v1, huleedu.token.{token}\r\n\r\n"
        )
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gateway").field(&self.authority).finish()
    }
}

/// Trusts whom this machine trusts.
fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One that cannot be read is nobody's.
        drop(roots.add(certificate));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_is_known_by_its_address() {
        let gateway = Gateway::at("ws://127.0.0.1:8080/ws").await.unwrap();
        assert!(gateway.request("t", None).starts_with("GET /ws HTTP/1.1\r\n"));
        let resumes = gateway.request("t", Some("1-0"));
        assert!(resumes.starts_with("GET /ws?last_event_id=1-0 HTTP/1.1\r\n"), "{resumes}");
        for bad in ["http://127.0.0.1/", "127.0.0.1:80", "ws://"] {
            Gateway::at(bad).await.unwrap_err();
        }
    }
}
