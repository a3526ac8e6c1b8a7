//! Plain HTTP requests to a service, for its health and its metrics.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

const LIMIT: Duration = Duration::from_secs(10);

/// Status and body of `GET path`.
///
/// # Errors
/// When there is no whole answer within ten seconds.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let response = request(address, path, &[]).await?;
    let status = response.status();
    Ok((status, String::from_utf8(response.into_body().to_vec())?))
}

/// The whole answer to `GET path` with some headers.
///
/// # Errors
/// When there is none within ten seconds.
pub async fn request(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response<Bytes>> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::get(path).header(header::HOST, address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let answer = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::pin!(connection);
        tokio::select! {
            answer = answer => answer,
            ended = &mut connection => Err(anyhow::anyhow!("no answer: {ended:?}")),
        }
    };
    timeout(LIMIT, exchange).await.with_context(|| format!("GET {path}: no answer"))?
}

/// The value of a series in a `/metrics` page, written as there: `name{label="value"}`.
#[must_use]
pub fn metric(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}
