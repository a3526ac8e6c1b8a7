//! The task `healthcheck` of both services: asks the admin server of the same machine whether the
//! service is ready. So an image needs neither a shell nor another program for its health.

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

/// Longest wait for the answer; whoever asks has time-outs of its own, and they are longer.
const LIMIT: Duration = Duration::from_secs(3);

/// Whether the service that has these settings is ready.
///
/// # Errors
/// When it is not, with the conditions that do not hold; or when it does not answer within 3 s.
pub async fn run(bind_address: IpAddr, admin_port: u16) -> anyhow::Result<()> {
    ensure!(admin_port != 0, "ADMIN_PORT: nobody knows which port it took by itself");
    let address = SocketAddr::new(reachable(bind_address), admin_port);
    let (status, body) = timeout(LIMIT, ready(address))
        .await
        .map_err(|_| anyhow::anyhow!("no answer within {LIMIT:?}"))
        .flatten()
        .with_context(|| format!("http://{address}/readyz"))?;
    ensure!(status == StatusCode::OK, "not ready: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// An address at which a service can be asked that listens on `bound`.
fn reachable(bound: IpAddr) -> IpAddr {
    match bound {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

async fn ready(address: SocketAddr) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz").header(header::HOST, address.to_string());
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        anyhow::Ok((head.status, body.collect().await?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::select! {
        answer = answer => answer,
        ended = &mut connection => Err(anyhow::anyhow!("no answer: {ended:?}")),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{AdminServer, Readiness};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn it_says_what_the_admin_server_says() {
        let readiness = Readiness::default();
        readiness.set("kafka", false);
        let bound = AdminServer::bind((HERE, 0).into(), readiness.clone(), Registry::new());
        let admin = bound.await.unwrap();
        let port = admin.local_addr().unwrap().port();
        tokio::spawn(admin.run(CancellationToken::new()));
        let problem = run(HERE, port).await.unwrap_err();
        assert_eq!(format!("{problem:#}"), r#"not ready: {"kafka":false}"#);
        readiness.set("kafka", true);
        run(Ipv4Addr::UNSPECIFIED.into(), port).await.unwrap();
    }

    #[tokio::test]
    async fn a_service_that_is_away_or_silent_is_not_ready() {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, ()) = tokio::join!(run(HERE, port), async {
            drop(listener.accept().await.unwrap());
        });
        assert!(format!("{:#}", answer.unwrap_err()).contains("no answer"));
        drop(listener);
        assert!(format!("{:#}", run(HERE, port).await.unwrap_err()).contains("/readyz: "));
        assert!(run(HERE, 0).await.unwrap_err().to_string().starts_with("ADMIN_PORT"));
    }
}
