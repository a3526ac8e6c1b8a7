//! The page's server, on loopback: the three files, `GET /session` (where to connect, with which
//! token, which events there are) and `POST /events/<n>`, which sends the n-th event.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use e2e::{
    events::{self, Case},
    stack::Stack,
};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use shared::lifecycle;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::USER;

const GRACE: Duration = Duration::from_secs(5);

type Answer = Response<Full<Bytes>>;

/// What every request needs.
struct Page {
    stack: Arc<Stack>,
    cases: Vec<Case>,
    origin: String,
}

/// Serves the page until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    stack: Arc<Stack>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let origin = format!("http://{}", listener.local_addr()?);
    let page = Arc::new(Page { stack, cases: events::designed()?, origin });
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted?.0,
        };
        let page = Arc::clone(&page);
        let service = service_fn(move |request| {
            let page = Arc::clone(&page);
            async move { Ok::<_, Infallible>(page.answer(request).await) }
        });
        let mut http = http1::Builder::new();
        let connection =
            http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                // A browser that hangs up is no news.
                _ = connection => {}
            }
        });
    }
    lifecycle::finish(&connections, GRACE).await;
    Ok(())
}

impl Page {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let answer = match *request.method() {
            Method::GET => self.get(path),
            Method::POST if self.is_own(&request) => self.send(path).await,
            Method::POST => return text(StatusCode::FORBIDDEN, "only the page may send"),
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"),
        };
        answer.unwrap_or_else(|problem| text(StatusCode::BAD_GATEWAY, &format!("{problem:#}")))
    }

    fn get(&self, path: &str) -> anyhow::Result<Answer> {
        match path {
            "/" => self.file("text/html; charset=utf-8", include_str!("../../../demo/index.html")),
            "/demo.css" => self.file("text/css", include_str!("../../../demo/demo.css")),
            "/demo.js" => self.file("text/javascript", include_str!("../../../demo/demo.js")),
            "/session" => self.session(),
            _ => Ok(text(StatusCode::NOT_FOUND, "not found")),
        }
    }

    fn file(&self, kind: &'static str, content: &'static str) -> anyhow::Result<Answer> {
        let policy = format!(
            "default-src 'self'; img-src data:; connect-src 'self' ws://{}",
            self.gateway()
        );
        Ok(Response::builder()
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_SECURITY_POLICY, policy)
            .header(header::CACHE_CONTROL, "no-store")
            .body(Full::new(Bytes::from_static(content.as_bytes())))?)
    }

    fn session(&self) -> anyhow::Result<Answer> {
        let names: Vec<&str> = self.cases.iter().map(Case::name).collect();
        let session = json!({
            "url": format!("ws://{}/ws", self.gateway()),
            "token": self.stack.token(USER)?,
            "user": USER,
            "events": names,
        });
        Ok(Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, "no-store")
            .body(Full::new(session.to_string().into()))?)
    }

    async fn send(&self, path: &str) -> anyhow::Result<Answer> {
        let number = path.strip_prefix("/events/").and_then(|number| number.parse::<usize>().ok());
        let case = number.and_then(|number| self.cases.get(number)).context("no such event")?;
        let event = case.fresh(USER)?.happening_now();
        self.stack.producer.send(&event).await?;
        Ok(text(StatusCode::ACCEPTED, &event.id))
    }

    fn gateway(&self) -> std::net::SocketAddr {
        self.stack.gateways[0].address()
    }

    /// Whether our page sends the request, and no other one that the browser has open.
    fn is_own(&self, request: &Request<Incoming>) -> bool {
        request.headers().get(header::ORIGIN).is_some_and(|origin| *origin == *self.origin)
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}
