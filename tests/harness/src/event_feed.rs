//! Clients of `GET /events`: an event stream, and long polls.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Method, Request, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use crate::http;

/// Longest time for the answer to a poll: the gateway answers within 60 s.
pub const POLL_LIMIT: Duration = Duration::from_secs(70);

/// An open event stream.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    received: String,
    connection: JoinHandle<()>,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// The id that the client has reached with it.
    pub id: Option<String>,
    /// Its name; none for frames.
    pub name: Option<String>,
    /// Its data.
    pub data: String,
    /// The delay until a reconnect, in milliseconds.
    pub retry: Option<u64>,
}

impl EventStream {
    /// Opens a stream after a position, or from now on.
    ///
    /// # Errors
    /// When the gateway refuses it.
    pub async fn open(
        address: SocketAddr,
        token: &str,
        last_event_id: Option<&str>,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::get("/events")
            .header(header::HOST, address.to_string())
            .header(header::ACCEPT, "text/event-stream")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        if let Some(last_event_id) = last_event_id {
            request = request.header("last-event-id", last_event_id);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status() == StatusCode::OK, "expected 200, got {}", response.status());
        let kind = response.headers().get(header::CONTENT_TYPE);
        ensure!(kind.is_some_and(|kind| kind == "text/event-stream"), "content type {kind:?}");
        Ok(Self { body: response.into_body(), received: String::new(), connection })
    }

    /// Reads the next event, also one without data.
    ///
    /// # Errors
    /// When none arrives within `limit`, or the stream ends.
    pub async fn next(&mut self, limit: Duration) -> anyhow::Result<ServerEvent> {
        let next = async {
            loop {
                if let Some((block, rest)) = self.received.split_once("\n\n") {
                    let event = parse(block);
                    self.received = rest.into();
                    if event != ServerEvent::default() {
                        return Ok(event);
                    }
                    continue;
                }
                let frame = self.body.frame().await.context("the stream has ended")??;
                let chunk = frame.into_data().ok().context("the stream has trailers")?;
                self.received.push_str(std::str::from_utf8(&chunk)?);
            }
        };
        timeout(limit, next).await.with_context(|| format!("no event within {limit:?}"))?
    }

    /// Reads the next frame; returns it with its id.
    ///
    /// # Errors
    /// As [`EventStream::next`], or when the frame is not JSON.
    pub async fn next_frame(&mut self, limit: Duration) -> anyhow::Result<(Option<String>, Value)> {
        loop {
            let ServerEvent { id, name, data, .. } = self.next(limit).await?;
            if name.is_none() && !data.is_empty() {
                let frame = serde_json::from_str(&data);
                return Ok((id, frame.with_context(|| format!("not JSON: {data}"))?));
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn parse(block: &str) -> ServerEvent {
    let mut event = ServerEvent::default();
    for (field, value) in block.lines().filter_map(|line| line.split_once(": ")) {
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => event.name = Some(value.to_owned()),
            "retry" => event.retry = value.parse().ok(),
            "data" if event.data.is_empty() => value.clone_into(&mut event.data),
            "data" => event.data = format!("{}\n{value}", event.data),
            _ => {}
        }
    }
    event
}

/// Polls once; returns the status and the answer.
///
/// # Errors
/// When there is no answer within [`POLL_LIMIT`].
pub async fn poll(
    address: SocketAddr,
    token: &str,
    query: &str,
) -> anyhow::Result<(StatusCode, Value)> {
    let headers = [("accept", "application/json"), ("authorization", &*format!("Bearer {token}"))];
    let path = format!("/events?{query}");
    let response = http::request_within(POLL_LIMIT, Method::GET, address, &path, &headers).await?;
    Ok((response.status(), serde_json::from_slice(response.body())?))
}
