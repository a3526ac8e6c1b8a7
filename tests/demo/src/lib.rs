//! Web server of the demo, on loopback: the page, `GET /session` (gateway URL, token, events),
//! `POST /events/<n>` (sends the n-th event), and `POST /network/cut` and `/network/mend` (the
//! connection between page and gateway).

use std::{
    collections::HashMap,
    convert::Infallible,
    path::Path,
    sync::{
        Arc,
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

type Answer = Response<Full<Bytes>>;

/// Default lifetime of tokens in seconds.
const TOKEN_LIFETIME_S: i64 = 3600;

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

/// The content of a site and the user of its pages.
#[derive(Debug)]
pub struct SiteContent {
    user: String,
    token_lifetime_s: i64,
    files: HashMap<String, (&'static str, Bytes)>,
}

impl SiteContent {
    /// The demo's page for `user`.
    #[must_use]
    pub fn demo(user: &str) -> Self {
        let built = [
            ("/", "html", include_str!("../index.html")),
            ("/demo.css", "css", include_str!("../demo.css")),
            ("/demo.js", "js", include_str!("../built.js")),
        ];
        let files = built.map(|(path, kind, text)| {
            (path.to_owned(), (media_type(kind), Bytes::from_static(text.as_bytes())))
        });
        Self { user: user.to_owned(), token_lifetime_s: TOKEN_LIFETIME_S, files: files.into() }
    }

    /// Sets the lifetime of tokens.
    #[must_use]
    pub fn token_lifetime(mut self, seconds: i64) -> Self {
        self.token_lifetime_s = seconds;
        self
    }

    /// All files of a folder, for `user`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn folder(user: &str, folder: &Path) -> anyhow::Result<Self> {
        let mut site = Self { files: HashMap::new(), ..Self::demo(user) };
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let kind = media_type(&path.extension().unwrap_or_default().to_string_lossy());
                let name = format!("/{}", path.strip_prefix(folder)?.display());
                site.files.insert(name, (kind, std::fs::read(&path)?.into()));
            }
        }
        Ok(site)
    }
}

fn media_type(extension: &str) -> &'static str {
    match extension {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        _ => "application/octet-stream",
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
        let gateway = stack.gateways.first().context("the stack has no gateway")?.address();
        let origin = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(SiteState {
            user: content.user,
            secret: stack.secret.clone(),
            token_lifetime_s: content.token_lifetime_s,
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
             connect-src 'self' ws://{network}"
        );
        Ok(Response::builder()
            .header(header::CONTENT_TYPE, *kind)
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .header(header::CACHE_CONTROL, "no-store")
            .body(Full::new(content.clone()))?)
    }

    fn session(&self) -> anyhow::Result<Answer> {
        self.sessions.fetch_add(1, Ordering::Relaxed);
        let events: Vec<Value> = self
            .cases
            .iter()
            .map(|case| json!({"name": case.name(), "category": case.category()}))
            .collect();
        let session = json!({
            "url": format!("ws://{}/ws", self.network.address()),
            "token": token::sign(&token::claims(&self.user, self.token_lifetime_s), &self.secret)?,
            "user": self.user,
            "events": events,
        });
        Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, "no-store")
            .body(Full::new(session.to_string().into()))?)
    }

    async fn handle_post(&self, path: &str) -> anyhow::Result<Answer> {
        match path {
            "/network/cut" => self.network.set_fault(Fault::Reset),
            "/network/mend" => self.network.set_fault(Fault::None),
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
