//! A WebSocket client as a browser, a mobile app or a rude stranger would be one.

use std::{fmt, net::SocketAddr, time::Duration};

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

/// How the token reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `Authorization: Bearer`, for clients that can set headers.
    Header,
    /// As a subprotocol, for browsers.
    Subprotocol,
    /// `?token=`, for browsers as of today.
    Query,
}

/// A connection to be opened.
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
    /// The headers of the server's answer.
    pub headers: HeaderMap,
}

/// How a connection was closed; 1005 stands for a close without a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The close code.
    pub code: u16,
    /// The reason, as sent.
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
    /// A connection to `/ws` of the gateway at `address`, without a token.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let path = "/ws".to_owned();
        Self { address, path, query: Vec::new(), headers: Vec::new(), receive_buffer: None }
    }

    /// To another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// With a token.
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

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With one more query parameter, its value as it stands.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(format!("{name}={value}"));
        self
    }

    /// With little room for what arrives and is not read, in bytes.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the connection.
    ///
    /// # Errors
    /// When the server does not complete the handshake.
    pub async fn open(&self) -> anyhow::Result<Client> {
        let (socket, response) = timeout(OPEN_LIMIT, self.handshake()).await??;
        Ok(Client { socket, headers: response })
    }

    /// Tries to open the connection and returns the status it is refused with.
    ///
    /// # Errors
    /// When it is not refused.
    pub async fn refused_status(&self) -> anyhow::Result<StatusCode> {
        Ok(self.refused_response().await?.status())
    }

    /// Tries to open the connection and returns the answer it is refused with.
    ///
    /// # Errors
    /// When it is not refused.
    pub async fn refused_response(&self) -> anyhow::Result<Response> {
        match timeout(OPEN_LIMIT, self.handshake()).await? {
            Ok(_) => bail!("the connection was opened"),
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
        let mark = if self.query.is_empty() { "" } else { "?" };
        let query = self.query.join("&");
        let url = format!("ws://{}{}{mark}{query}", self.address, self.path);
        let mut request = url.into_client_request()?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.parse()?);
        }
        Ok(request)
    }
}

impl Client {
    /// The next frame: a JSON text.
    ///
    /// # Errors
    /// When none arrives within `limit`, the connection ends, or it is no JSON.
    pub async fn next_frame(&mut self, limit: Duration) -> anyhow::Result<Value> {
        let message = timeout(limit, async {
            loop {
                match self.socket.next().await.context("the connection has ended")?? {
                    Message::Text(text) => return anyhow::Ok(text),
                    Message::Close(frame) => return Err(Closed::from(frame).into()),
                    _ => {}
                }
            }
        });
        let text = message.await.with_context(|| format!("no frame within {limit:?}"))??;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// The next frame that is not about the connection itself.
    ///
    /// # Errors
    /// As for [`Client::next_frame`].
    pub async fn next_notification(&mut self, limit: Duration) -> anyhow::Result<Value> {
        loop {
            let frame = self.next_frame(limit).await?;
            if frame["event"] != "connection_state" {
                return Ok(frame);
            }
        }
    }

    /// The `data` of the first frame, which says that the client is subscribed.
    ///
    /// # Errors
    /// When another frame comes first, or none.
    pub async fn expect_authenticated(&mut self, limit: Duration) -> anyhow::Result<Value> {
        let mut frame = self.next_frame(limit).await?;
        ensure!(frame["data"]["state"] == "authenticated", "another frame came first: {frame}");
        Ok(frame["data"].take())
    }

    /// Reads until the server closes, and says how it did.
    ///
    /// # Errors
    /// When it does not within `limit`, or ends without a close frame.
    pub async fn next_close(&mut self, limit: Duration) -> anyhow::Result<Closed> {
        let close = timeout(limit, async {
            loop {
                let message = self.socket.next().await.context("ended without a close frame")??;
                if let Message::Close(frame) = message {
                    return Ok(frame.into());
                }
            }
        });
        close.await.with_context(|| format!("not closed within {limit:?}"))?
    }

    /// Sends a message, well-formed or not.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.socket.send(message).await?)
    }

    /// Sends a JSON text.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send_json(&mut self, value: &Value) -> anyhow::Result<()> {
        self.send(Message::text(value.to_string())).await
    }
}
