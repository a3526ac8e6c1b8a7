//! Plain HTTP requests without a body.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Method, Request, Response, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Longest wait for a response.
const LIMIT: Duration = Duration::from_secs(10);

/// Returns status and body of `GET path`.
///
/// # Errors
/// When the response is not complete within ten seconds.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, String)> {
    let response = request(Method::GET, address, path, &[]).await?;
    let status = response.status();
    Ok((status, String::from_utf8(response.into_body().to_vec())?))
}

/// Returns the response to a request with headers.
///
/// # Errors
/// When the response is not complete within ten seconds.
pub async fn request(
    method: Method,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response<Bytes>> {
    request_within(LIMIT, method, address, path, headers).await
}

/// Returns the response to a request with headers, which the server may delay.
///
/// # Errors
/// When the response is not complete within `limit`.
pub async fn request_within(
    limit: Duration,
    method: Method,
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> anyhow::Result<Response<Bytes>> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let response = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::pin!(connection, response);
        tokio::select! {
            response = &mut response => response,
            ended = &mut connection => {
                ended.context("the connection ended")?;
                response.await
            }
        }
    };
    timeout(limit, exchange)
        .await
        .with_context(|| format!("{path}: no response within {limit:?}"))?
}

/// Returns the value of a series in a `/metrics` page; `series` is spelled as in the page:
/// `name{label="value"}`.
#[must_use]
pub fn metric(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Returns the sum of all series with labels that have this name.
#[must_use]
pub fn metric_sum(page: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.starts_with(&format!("{name}{{"));
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
    page.lines().filter(of_name).filter_map(value).sum()
}
