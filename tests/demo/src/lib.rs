//! Web server of the demo, on loopback: the page, `GET /session` (gateway URL, token, events),
//! `POST /events/<n>` (sends the n-th event), and `POST /network/cut` and `/network/restore` (the
//! connection between page and gateway).

mod content;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use harness::{
    events::{self, Case, Event},
    producer::Producer,
    proxy::{Fault, Proxy},
    redis::RedisTopology,
    stack::Stack,
    token,
};

pub use content::SiteContent;

type Answer = Response<Full<Bytes>>;

/// A running web server; it ends on drop.
#[derive(Debug)]
pub struct Site {
    origin: String,
    state: Arc<SiteState>,
    accepting: JoinHandle<()>,
}

/// What the request handlers share.
struct SiteState {
    user: String,
    secret: String,
    token_lifetime_s: i64,
    /// What `GET /session` returns instead of a fresh token.
    token: Mutex<Option<String>>,
    sessions: AtomicU64,
    producer: Producer,
    cases: Vec<Case>,
    origin: String,
    network: Proxy,
    files: HashMap<String, (&'static str, Bytes)>,
}

impl std::fmt::Debug for SiteState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SiteState").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Site {
    /// Serves `content` on `listener`; its pages connect to the first gateway.
    ///
    /// # Errors
    /// When a fixture cannot be read or no port is free.
    pub async fn start(
        listener: TcpListener,
        stack: &Stack<impl RedisTopology>,
        content: SiteContent,
    ) -> anyhow::Result<Self> {
        let first = stack.gateways.first().context("the stack has no gateway")?.address();
        let gateway = content.gateway.unwrap_or(first);
        let origin = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(SiteState {
            user: content.user,
            secret: stack.secret.clone(),
            token_lifetime_s: content.token_lifetime_s,
            token: Mutex::new(None),
            sessions: AtomicU64::new(0),
            producer: stack.producer.clone(),
            cases: events::designed()?,
            origin: origin.clone(),
            network: Proxy::start(gateway).await?,
            files: content.files,
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { origin, state, accepting })
    }

    /// Returns the origin of the pages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns a fresh token for the user of the pages.
    ///
    /// # Errors
    /// When the claims cannot be serialized.
    pub fn fresh_token(&self) -> anyhow::Result<String> {
        self.state.fresh_token()
    }

    /// Issues `token` from now on; `None`: fresh tokens.
    pub fn set_token(&self, token: Option<String>) {
        *self.state.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Returns how many tokens were issued.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.state.sessions.load(Ordering::Relaxed)
    }

    /// Returns the proxy between the pages and the gateway.
    #[must_use]
    pub fn network(&self) -> &Proxy {
        &self.state.network
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<SiteState>) {
    // Ends the connections on drop.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // The browser has disconnected before it was accepted.
                let Ok((stream, _)) = accepted else { continue };
                let state = Arc::clone(&state);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new());
                connections.spawn(http.serve_connection(TokioIo::new(stream), service));
            }
            // A closed connection is no error.
            Some(_) = connections.join_next() => {}
        }
    }
}

impl SiteState {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let answer = match *request.method() {
            Method::GET if path == "/session" => self.session(),
            Method::GET => self.file(path),
            Method::POST if self.is_same_origin(&request) => self.handle_post(path).await,
            Method::POST => {
                return text(StatusCode::FORBIDDEN, "only the page may send this request");
            }
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"),
        };
        answer.unwrap_or_else(|problem| text(StatusCode::BAD_GATEWAY, &format!("{problem:#}")))
    }

    fn file(&self, path: &str) -> anyhow::Result<Answer> {
        let Some((kind, content)) = self.files.get(path) else {
            return Ok(text(StatusCode::NOT_FOUND, "not found"));
        };
        let network = self.network.address();
        let policy = format!(
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; \
             connect-src 'self' ws://{network} http://{network}"
        );
        Ok(Response::builder()
            .header(header::CONTENT_TYPE, *kind)
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .header(header::CACHE_CONTROL, "no-store")
            .body(Full::new(content.clone()))?)
    }

    fn session(&self) -> anyhow::Result<Answer> {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let events: Vec<Value> = self
            .cases
            .iter()
            .map(|case| json!({"name": case.name(), "category": case.category()}))
            .collect();
        let session = json!({
            "url": format!("ws://{}/ws", self.network.address()),
            "token": token.map_or_else(|| self.fresh_token(), Ok)?,
            "user": self.user,
            "events": events,
        });
        Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, "no-store")
            .body(Full::new(session.to_string().into()))?)
    }

    fn fresh_token(&self) -> anyhow::Result<String> {
        token::sign(&token::claims(&self.user, self.token_lifetime_s), &self.secret)
    }

    async fn handle_post(&self, path: &str) -> anyhow::Result<Answer> {
        match path {
            "/network/cut" => self.network.set_fault(Fault::Reset),
            "/network/restore" => self.network.set_fault(Fault::None),
            _ => return self.send_event(path).await,
        }
        Ok(text(StatusCode::OK, "done"))
    }

    async fn send_event(&self, path: &str) -> anyhow::Result<Answer> {
        let number = path.strip_prefix("/events/").and_then(|number| number.parse::<usize>().ok());
        let case = number.and_then(|number| self.cases.get(number)).context("no such event")?;
        let event: Event = case.fresh(&self.user)?.happening_now();
        self.producer.send(&event).await?;
        Ok(text(StatusCode::ACCEPTED, &event.id))
    }

    /// Returns whether the request comes from the page and not from another site.
    fn is_same_origin(&self, request: &Request<Incoming>) -> bool {
        request.headers().get(header::ORIGIN).is_some_and(|origin| *origin == *self.origin)
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}
