//! TLS between clients and the gateway.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use harness::{
    certificates::{Certificates, HOST},
    events::fresh_user,
    eventually,
    http::{self, metric},
    stack::{Layout, TIMEOUT},
    workspace,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{context::Context, runner::scenarios};

scenarios![a_new_certificate_is_used_without_a_restart_and_closes_no_connection,];

/// A TLS connection that trusts this authority only.
async fn connect(
    address: SocketAddr,
    trusted: &Certificates,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&trusted.authority)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(connector.connect(ServerName::try_from(HOST)?, stream).await?)
}

async fn a_new_certificate_is_used_without_a_restart_and_closes_no_connection(
    context: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("tls-")?;
    let in_use = folder.path().join("in-use");
    let make = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path)?;
        Certificates::create(&path)
    };
    let [old, new] = [make("old")?, make("new")?];
    std::fs::create_dir(&in_use)?;
    let (certificate, key) = (in_use.join("certificate.pem"), in_use.join("key.pem"));
    let put = |from: &Certificates| {
        std::fs::copy(&from.certificate, &certificate)?;
        std::fs::copy(&from.key, &key).map(drop)
    };
    put(&old)?;
    let gateway_settings = vec![
        ("TLS_CERT_FILE", certificate.display().to_string()),
        ("TLS_KEY_FILE", key.display().to_string()),
    ];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let address = stack.gateways[0].address();

    let url = format!("wss://{HOST}/ws?token={}", stack.token(&user)?);
    let (mut client, _) = client_async(&url, connect(address, &old).await?).await?;
    stack.wait_for_subscriptions(&user, 1).await?;
    stack.publish(&user, r#"{"event":"over TLS"}"#).await?;
    let frame = timeout(TIMEOUT, client.next()).await?.context("the connection has ended")??;
    ensure!(frame == Message::text(r#"{"event":"over TLS"}"#), "unexpected frame {frame:?}");

    ensure!(connect(address, &new).await.is_err(), "the client trusts another authority");
    ensure!(http::get(address, "/healthz").await.is_err(), "the port also accepts plain HTTP");

    put(&new)?;
    let connected = async || connect(address, &new).await;
    eventually("the new certificate is used", TIMEOUT, connected).await?;
    let page = stack.gateways[0].metrics().await?;
    let end = metric(&page, "gateway_certificate_end_timestamp_seconds");
    ensure!(end > Some(1e9), "expected the end of the certificate, got {end:?}");
    stack.publish(&user, r#"{"event":"on the old connection"}"#).await?;
    let frame = timeout(TIMEOUT, client.next()).await?.context("the connection has ended")??;
    let expected = Message::text(r#"{"event":"on the old connection"}"#);
    ensure!(frame == expected, "unexpected frame {frame:?}");
    stack.shut_down_and_check_logs().await
}
