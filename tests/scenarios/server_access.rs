//! TLS to Redis and Kafka: services verify certificate and host name, and Kafka the password. A
//! service that is rejected stays alive, is not ready, names the cause in its log and retries.

pub(crate) mod redis_acl;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{
    certificates::{Certificates, HOST},
    eventually,
    http::{self, metric},
    kafka::PASSWORD as KAFKA_PASSWORD,
    redis::Redis,
    service::Service,
    stack::{Layout, TIMEOUT},
    token, workspace,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    assertions::expect_delivery, context::Context, requirements::Skipped, runner::scenarios,
};

scenarios![
    redis_is_verified_by_certificate_and_host_name,
    kafka_is_verified_by_certificate_and_host_name_and_verifies_the_password,
];

/// Waits until the log of a service contains a text.
async fn wait_for_log(service: &Service, text: &str) -> anyhow::Result<()> {
    eventually(&format!("{} logs {text}", service.name()), TIMEOUT, async || {
        ensure!(service.log()?.contains(text), "the log does not contain it");
        Ok(())
    })
    .await
}

/// Starts a service that rejects its server or is rejected, and checks how it behaves.
async fn start_rejected(
    binary: &'static str,
    folder: &Path,
    settings: &[(&str, String)],
    cause: &str,
) -> anyhow::Result<Service> {
    let mut all = vec![
        ("BIND_ADDRESS", "127.0.0.1".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
    ];
    if binary == "ws-gateway" {
        all.push(("WEBSOCKET_PORT", "0".to_owned()));
        all.push(("JWT_SECRET_KEY", token::fresh_secret()));
    }
    let all = all.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), value.clone()));
    let name = format!("{binary}-{}", Uuid::new_v4().simple());
    let service = Service::start(binary, name, folder, all.collect()).await?;
    wait_for_log(&service, cause).await?;
    for (path, expected) in [("/readyz", 503), ("/livez", 200)] {
        let (status, _) = http::get(service.admin(), path).await?;
        ensure!(status == expected, "{path}: expected status {expected}, got {status}");
    }
    Ok(service)
}

async fn redis_is_verified_by_certificate_and_host_name(context: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("stack-")?;
    let certificates = Certificates::create(folder.path())?;
    let (redis, port) = Redis::start_with_tls(folder.path(), &certificates).await?;
    let authority = ("SSL_CERT_FILE", certificates.authority.display().to_string());
    let url = |host: &str| ("REDIS_URL", format!("rediss://{host}:{port}"));
    let wrong_host = [authority.clone(), url("127.0.0.1")];
    let unknown_authority = [url(HOST)];
    for settings in [&wrong_host[..], &unknown_authority] {
        start_rejected("ws-gateway", folder.path(), settings, "certificate").await?;
    }
    let settings = vec![authority, url(HOST)];
    let (worker_settings, gateway_settings) = (settings.clone(), settings);
    let layout = Layout { worker_settings, gateway_settings, ..Layout::default() };
    let stack = context.stack_with_redis(&layout, folder, redis).await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn kafka_is_verified_by_certificate_and_host_name_and_verifies_the_password(
    context: &Context,
) -> anyhow::Result<()> {
    const WRONG_PASSWORD: &str = "not-this-one";
    let kafka = context.durable_kafka().await?;
    let Ok(secured) = kafka.secured() else {
        return Err(Skipped("the given broker has no known listener with TLS and SASL").into());
    };
    let worker_settings = secured.worker_settings();
    let layout = Layout { worker_settings: worker_settings.clone(), ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    expect_delivery(&stack).await?;

    let folder = workspace::temporary("rejected-")?;
    let other_authority = Certificates::create(folder.path())?.authority.display().to_string();
    let wrong_host = format!("127.0.0.1:{}", secured.port);
    for (name, value, cause) in [
        ("KAFKA_PROPERTY_SASL_PASSWORD", WRONG_PASSWORD.to_owned(), "uthentication"),
        ("KAFKA_PROPERTY_SSL_CA_LOCATION", other_authority, "ertificate"),
        ("KAFKA_BOOTSTRAP_SERVERS", wrong_host, "ertificate"),
    ] {
        // Of two values for one name, the later is used.
        let redis = ("REDIS_URL", format!("redis://{}", stack.redis.address()));
        let settings = [&worker_settings[..], &[redis, (name, value)]].concat();
        let worker = start_rejected("ingest-worker", folder.path(), &settings, cause).await?;
        let log = worker.log()?;
        let shows_password = [KAFKA_PASSWORD, WRONG_PASSWORD].iter().any(|text| log.contains(text));
        ensure!(!shows_password, "the log contains a password: {log}");
        expect_bounded_retries(&worker).await?;
    }
    stack.shut_down_and_check_logs().await
}

/// Checks that a rejected worker retries, but fewer than 20 times a second.
async fn expect_bounded_retries(worker: &Service) -> anyhow::Result<()> {
    let errors = async || {
        let page = worker.metrics().await?;
        metric(&page, "ingest_worker_kafka_errors_total").context("no metric of Kafka errors")
    };
    let (started, before) = (Instant::now(), errors().await?);
    let after = eventually("the worker retries", TIMEOUT, async || {
        let after = errors().await?;
        ensure!(after > before, "no further error");
        Ok(after)
    })
    .await?;
    let seconds = started.elapsed().max(Duration::from_secs(1)).as_secs_f64();
    let retries = after - before;
    ensure!(retries / seconds < 20.0, "expected under 20/s, got {retries} in {seconds:.1} s");
    Ok(())
}
