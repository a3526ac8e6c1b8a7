//! A WebSocket client.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::{HeaderMap, StatusCode, header};
use serde_json::Value;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message, client::IntoClientRequest as _, handshake::client::Request,
        handshake::client::Response, protocol::CloseFrame,
    },
};

/// Longest wait for a handshake.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// How a client sends its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `Authorization: Bearer`, for clients other than browsers.
    Header,
    /// `Sec-WebSocket-Protocol`, for browsers.
    Subprotocol,
    /// `?token=`, for existing browser clients.
    Query,
}

impl Transport {
    /// Every way to send a token.
    pub const ALL: [Self; 3] = [Self::Header, Self::Subprotocol, Self::Query];
}

/// Options of a connection.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    address: SocketAddr,
    path: String,
    query: Vec<String>,
    headers: Vec<(header::HeaderName, String)>,
    receive_buffer: Option<u32>,
}

/// An open connection.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    /// The headers of the handshake response.
    pub headers: HeaderMap,
}

/// A close frame; the code is 1005 if it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code.
    pub code: u16,
    /// The reason.
    pub reason: String,
}

impl From<Option<CloseFrame>> for Closed {
    fn from(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(CloseFrame { code, reason }) => {
                Self { code: code.into(), reason: reason.as_str().to_owned() }
            }
            None => Self { code: 1005, reason: String::new() },
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "closed with {}: {}", self.code, self.reason)
    }
}

impl std::error::Error for Closed {}

impl ConnectOptions {
    /// Connects to `/ws` at `address`, without a token.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let path = "/ws".to_owned();
        Self { address, path, query: Vec::new(), headers: Vec::new(), receive_buffer: None }
    }

    /// Sets another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds a token.
    #[must_use]
    pub fn token(self, token: &str, transport: Transport) -> Self {
        match transport {
            Transport::Header => self.header(header::AUTHORIZATION, &format!("Bearer {token}")),
            Transport::Subprotocol => {
                let offers = format!("huleedu.v1, huleedu.token.{token}");
                self.header(header::SEC_WEBSOCKET_PROTOCOL, &offers)
            }
            Transport::Query => self.query("token", token),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Adds a query parameter without escaping its value.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(format!("{name}={value}"));
        self
    }

    /// Sets the size of the socket's receive buffer in bytes.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the connection.
    ///
    /// # Errors
    /// When the server refuses the handshake or does not answer in time.
    pub async fn open(&self) -> anyhow::Result<Client> {
        let (socket, response) = timeout(OPEN_LIMIT, self.handshake()).await??;
        Ok(Client { socket, headers: response })
    }

    /// Expects the server to refuse the handshake; returns the status.
    ///
    /// # Errors
    /// When the connection is opened.
    pub async fn refused_status(&self) -> anyhow::Result<StatusCode> {
        Ok(self.refused_response().await?.status())
    }

    async fn refused_response(&self) -> anyhow::Result<Response> {
        match timeout(OPEN_LIMIT, self.handshake()).await? {
            Ok(_) => bail!("the server accepted a handshake that it should refuse"),
            Err(problem) => match problem.downcast::<Error>()? {
                Error::Http(response) => Ok(*response),
                problem => Err(problem.into()),
            },
        }
    }

    async fn handshake(&self) -> anyhow::Result<(WebSocketStream<TcpStream>, HeaderMap)> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (socket, response) = client_async(self.request()?, stream).await?;
        Ok((socket, response.into_parts().0.headers))
    }

    fn request(&self) -> anyhow::Result<Request> {
        let separator = if self.query.is_empty() { "" } else { "?" };
        let query = self.query.join("&");
        let url = format!("ws://{}{}{separator}{query}", self.address, self.path);
        let mut request = url.into_client_request()?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.parse()?);
        }
        Ok(request)
    }
}

impl Client {
    /// Reads the next text frame as JSON.
    ///
    /// # Errors
    /// When none arrives within `limit`, the connection ends, or the text is not JSON.
    pub async fn next_frame(&mut self, limit: Duration) -> anyhow::Result<Value> {
        let message = timeout(limit, async {
            loop {
                match self
                    .socket
                    .next()
                    .await
                    .context("the connection ended without a close frame")??
                {
                    Message::Text(text) => return anyhow::Ok(text),
                    Message::Close(frame) => return Err(Closed::from(frame).into()),
                    _ => {}
                }
            }
        });
        let text = message.await.with_context(|| format!("no frame within {limit:?}"))??;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Reads the next frame that is neither a `connection_state` nor a `read_state`.
    ///
    /// # Errors
    /// As [`Client::next_frame`].
    pub async fn next_notification(&mut self, limit: Duration) -> anyhow::Result<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let frame = self.next_frame(deadline - Instant::now()).await?;
            if frame["event"] != "connection_state" && frame["event"] != "read_state" {
                return Ok(frame);
            }
        }
    }

    /// Expects the first frame to confirm the subscription; returns its `data`.
    ///
    /// # Errors
    /// When another frame arrives, or none within `limit`.
    pub async fn expect_authenticated(&mut self, limit: Duration) -> anyhow::Result<Value> {
        let mut frame = self.next_frame(limit).await?;
        ensure!(
            frame["data"]["state"] == "authenticated",
            "expected `authenticated`, received {frame}"
        );
        Ok(frame["data"].take())
    }

    /// Reads until the server closes the connection; returns the close frame.
    ///
    /// # Errors
    /// When it does not within `limit`, or the connection ends without a close frame.
    pub async fn next_close(&mut self, limit: Duration) -> anyhow::Result<Closed> {
        let close = timeout(limit, async {
            loop {
                let message = self
                    .socket
                    .next()
                    .await
                    .context("the connection ended without a close frame")??;
                if let Message::Close(frame) = message {
                    return Ok(frame.into());
                }
            }
        });
        close.await.with_context(|| format!("not closed within {limit:?}"))?
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.socket.send(message).await?)
    }

    /// Sends a text frame with JSON.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send_json(&mut self, value: &Value) -> anyhow::Result<()> {
        self.send(Message::text(value.to_string())).await
    }
}
