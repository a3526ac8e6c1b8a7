//! Stand-ins for the issuer of tokens, which publishes its keys over HTTP or HTTPS, and for a
//! forward proxy on the way to it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use harness::certificates::{Certificates, HOST};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// Returns the response to a request for a path.
type Respond = Arc<dyn Fn(&str) -> Response<Full<Bytes>> + Send + Sync>;

/// A running issuer. Dropping it ends it.
#[derive(Debug)]
pub struct Issuer {
    origin: String,
    _server: JoinSet<()>,
}

impl Issuer {
    /// Starts an issuer that takes `delay` for each response; with certificates it serves HTTPS.
    ///
    /// # Errors
    /// When no port is free, or the certificates cannot be used.
    pub async fn start(
        certificates: Option<&Certificates>,
        delay: Duration,
        respond: impl Fn(&str) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let tls = certificates.map(acceptor).transpose()?;
        let origin = match tls {
            Some(_) => format!("https://{HOST}:{}", address.port()),
            None => format!("http://{address}"),
        };
        let (respond, mut server) = (Arc::new(respond) as Respond, JoinSet::new());
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, respond) = (tls.clone(), Arc::clone(&respond));
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, delay, respond).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, delay, respond).await;
                            }
                        }
                    }
                });
            }
        });
        Ok(Self { origin, _server: server })
    }

    /// Returns the URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

fn acceptor(certificates: &Certificates) -> anyhow::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(&certificates.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&certificates.key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, delay: Duration, respond: Respond) {
    let service = service_fn(|request: Request<Incoming>| {
        let respond = Arc::clone(&respond);
        async move {
            sleep(delay).await;
            Ok::<_, Infallible>(respond(request.uri().path()))
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // The client decides when it ends.
    drop(connection.await);
}

/// A running forward proxy, which opens tunnels to this machine. Dropping it ends it.
#[derive(Debug)]
pub struct ForwardProxy {
    /// The address.
    pub address: SocketAddr,
    tunnels: Arc<AtomicU64>,
    _server: JoinSet<()>,
}

impl ForwardProxy {
    /// Starts a proxy.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (tunnels, mut server) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        let count = Arc::clone(&tunnels);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                connections.spawn(async move {
                    if let Err(error) = tunnel(stream, &count).await {
                        eprintln!("forward proxy: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, tunnels, _server: server })
    }

    /// Returns how many tunnels it has opened.
    #[must_use]
    pub fn tunnels(&self) -> u64 {
        self.tunnels.load(Ordering::Relaxed)
    }
}

async fn tunnel(client: TcpStream, tunnels: &AtomicU64) -> anyhow::Result<()> {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).await? == 0 {
            bail!("closed before the end of the request");
        }
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let mut server = TcpStream::connect(target.context("not a CONNECT request")?).await?;
    tunnels.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
