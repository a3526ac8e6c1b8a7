//! Clients that speak TLS.

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
use tokio::net::TcpStream;
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

scenarios![clients_speak_tls_and_a_new_certificate_needs_no_restart,];

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

async fn clients_speak_tls_and_a_new_certificate_needs_no_restart(
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
    let frame = tokio::time::timeout(TIMEOUT, client.next()).await?.context("a frame")??;
    ensure!(frame == Message::text(r#"{"event":"over TLS"}"#), "{frame:?}");

    ensure!(connect(address, &new).await.is_err(), "another authority is not trusted");
    ensure!(http::get(address, "/healthz").await.is_err(), "it speaks plainly as well");

    put(&new)?;
    eventually("the new certificate is used", TIMEOUT, async || connect(address, &new).await)
        .await?;
    let page = stack.gateways[0].metrics().await?;
    let end = metric(&page, "gateway_certificate_end_timestamp_seconds");
    ensure!(end > Some(1e9), "when it ends is not told: {end:?}");
    // Who is connected stays.
    stack.publish(&user, r#"{"event":"still there"}"#).await?;
    let frame = tokio::time::timeout(TIMEOUT, client.next()).await?.context("a frame")??;
    ensure!(frame == Message::text(r#"{"event":"still there"}"#), "{frame:?}");
    drop(client);
    stack.shut_down_and_check_logs().await
}
