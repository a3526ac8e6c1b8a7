//! The `healthcheck` subcommand of both services: requests `/readyz` from the admin server on the
//! same machine, so that an image needs neither a shell nor an HTTP client for its health check.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Time limit for the response; below the time-outs of the compose file and the probes.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Returns `Ok` if the service with these settings is ready.
///
/// # Errors
/// If it is not ready, with the state of its conditions, or if it does not respond within 3 s.
pub async fn run(bind_address: IpAddr, admin_port: u16) -> anyhow::Result<()> {
    ensure!(admin_port != 0, "ADMIN_PORT is 0: the port that the service was given is unknown");
    let address = SocketAddr::new(connect_address(bind_address), admin_port);
    let (status, body) = timeout(TIMEOUT, get_readyz(address))
        .await
        .map_err(|_| anyhow::anyhow!("no response within {TIMEOUT:?}"))
        .flatten()
        .with_context(|| format!("http://{address}/readyz"))?;
    ensure!(status == StatusCode::OK, "not ready: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// Returns the address to connect to for a service that listens on `bound`.
fn connect_address(bound: IpAddr) -> IpAddr {
    match bound {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

async fn get_readyz(address: SocketAddr) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz").header(header::HOST, address.to_string());
    let request = request.body(Empty::<Bytes>::new())?;
    let response = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        anyhow::Ok((head.status, body.collect().await?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::select! {
        response = response => response,
        ended = &mut connection => Err(anyhow::anyhow!("connection closed without a response: {ended:?}")),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{AdminServer, Readiness};

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn it_reports_the_readiness_of_the_admin_server() {
        let readiness = Readiness::default();
        readiness.set("kafka", false);
        let bound = AdminServer::bind((LOOPBACK, 0).into(), readiness.clone(), Registry::new());
        let admin = bound.await.unwrap();
        let port = admin.local_addr().unwrap().port();
        tokio::spawn(admin.run(CancellationToken::new()));
        let error = run(LOOPBACK, port).await.unwrap_err();
        assert_eq!(format!("{error:#}"), r#"not ready: {"kafka":false}"#);
        readiness.set("kafka", true);
        run(Ipv4Addr::UNSPECIFIED.into(), port).await.unwrap();
    }

    #[tokio::test]
    async fn a_service_that_does_not_listen_or_respond_is_not_ready() {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (result, ()) = tokio::join!(run(LOOPBACK, port), async {
            drop(listener.accept().await.unwrap());
        });
        assert!(format!("{:#}", result.unwrap_err()).contains("without a response"));
        drop(listener);
        assert!(format!("{:#}", run(LOOPBACK, port).await.unwrap_err()).contains("/readyz: "));
        assert!(run(LOOPBACK, 0).await.unwrap_err().to_string().starts_with("ADMIN_PORT"));
    }
}
