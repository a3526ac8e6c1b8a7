//! Opens WebSockets to a gateway: source address, TLS and handshake.

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

use super::websocket::{Stream, WebSocket};

/// Longest response to the handshake.
const MAX_RESPONSE: usize = 16 << 10;

/// A gateway with its resolved address.
#[derive(Clone)]
pub(crate) struct Gateway {
    address: SocketAddr,
    authority: String,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Gateway {
    /// Parses a `ws://` or `wss://` URL and resolves its host.
    ///
    /// # Errors
    /// When the URL is invalid or the host does not resolve.
    pub(crate) async fn resolve(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
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

    /// Opens a WebSocket from the address `source` that resumes after the position `last`.
    ///
    /// # Errors
    /// When the gateway does not complete the handshake.
    pub(crate) async fn open(
        &self,
        source: Option<IpAddr>,
        token: &str,
        last: Option<&str>,
    ) -> anyhow::Result<WebSocket> {
        let mut stream = self.connect(source).await?;
        stream.write_all(self.request(token, last).as_bytes()).await?;
        let mut read = Vec::with_capacity(512);
        let end = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(read.len() < MAX_RESPONSE, "the response is longer than {MAX_RESPONSE} bytes");
            ensure!(stream.read_buf(&mut read).await? > 0, "closed during the handshake");
        };
        let status = read.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = String::from_utf8_lossy(status);
        ensure!(status.starts_with("HTTP/1.1 101"), "expected status 101, got {status}");
        Ok(WebSocket::new(stream, read.split_off(end)))
    }

    async fn connect(&self, source: Option<IpAddr>) -> anyhow::Result<Box<dyn Stream>> {
        let stream = match source {
            None => TcpStream::connect(self.address).await?,
            Some(source) => {
                let socket = TcpSocket::new_v4()?;
                socket.set_reuseaddr(true)?;
                socket.bind((source, 0).into())?;
                socket.connect(self.address).await?
            }
        };
        stream.set_nodelay(true)?;
        // Closed by a reset, as a port in TIME_WAIT cannot be reused.
        stream.set_zero_linger()?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        })
    }

    fn request(&self, token: &str, last: Option<&str>) -> String {
        let Self { authority, path, .. } = self;
        let tag = if path.contains('?') { '&' } else { '?' };
        let query = last.map_or_else(String::new, |last| format!("{tag}last_event_id={last}"));
        // A constant key: only a caching proxy would need it to differ.
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

/// Trusts the root certificates of this machine.
fn connector() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // A certificate that cannot be parsed cannot have signed the gateway's.
        drop(roots.add(certificate));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_is_resolved_and_requested() {
        let gateway = Gateway::resolve("ws://127.0.0.1:8080/ws").await.unwrap();
        assert!(gateway.request("t", None).starts_with("GET /ws HTTP/1.1\r\n"));
        let resumes = gateway.request("t", Some("1-0"));
        assert!(resumes.starts_with("GET /ws?last_event_id=1-0 HTTP/1.1\r\n"), "{resumes}");
        for bad in ["http://127.0.0.1/", "127.0.0.1:80", "ws://"] {
            Gateway::resolve(bad).await.unwrap_err();
        }
    }
}
