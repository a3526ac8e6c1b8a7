//! TLS to Redis and Kafka: services verify certificate and host name, and Kafka the password. A
//! service that is rejected stays alive, is not ready, names the cause in its log and retries.

pub(crate) mod kafka_acl;
pub(crate) mod publish_script;
pub(crate) mod redis_acl;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
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
use http_body_util::Full;
use hyper::{
    Response,
    header::{CONTENT_TYPE, HeaderValue},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::issuer::Issuer;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    assertions::expect_delivery, context::Context, requirements::Skipped, runner::scenarios,
};

scenarios![
    redis_is_verified_by_certificate_and_host_name,
    kafka_is_verified_by_certificate_and_host_name_and_verifies_the_password,
    kafka_accepts_tokens_of_an_oidc_issuer_which_are_renewed,
];

/// Lifetime of a token; the client renews it before.
const TOKEN_LIFETIME: Duration = Duration::from_secs(20);

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

async fn kafka_accepts_tokens_of_an_oidc_issuer_which_are_renewed(
    context: &Context,
) -> anyhow::Result<()> {
    let kafka = context.durable_kafka().await?;
    let Ok(secured) = kafka.secured() else {
        return Err(Skipped("the given broker has no known listener with TLS and SASL").into());
    };
    let tokens = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tokens);
    let folder = workspace::temporary("oidc-")?;
    let certificates = Certificates::create(folder.path())?;
    let issuer = Issuer::start(Some(&certificates), Duration::ZERO, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        access_token()
    })
    .await?;
    let mut worker_settings = secured.worker_settings_with_token(&issuer.url("/token"));
    let authority = certificates.authority.display().to_string();
    worker_settings.push(("KAFKA_PROPERTY_HTTPS_CA_LOCATION", authority));
    let layout = Layout { worker_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    expect_delivery(&stack).await?;
    let before = tokens.load(Ordering::Relaxed);
    eventually("the tokens are renewed", 3 * TOKEN_LIFETIME, async || {
        let now = tokens.load(Ordering::Relaxed);
        // One for each of at least two clients, the consumer and the producer.
        ensure!(before > 0 && now >= before + 2, "{now} tokens are issued, after {before}");
        Ok(())
    })
    .await?;
    let list = stack.workers[0].run_command(&["dead-letters", "list"], "").await?.stdout;
    ensure!(list.contains("dead letters in"), "expected the list, got {list}");
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}

/// The issuer's answer to a request for a token: one without a signature.
fn access_token() -> Response<Full<Bytes>> {
    let now = Timestamp::now().as_second();
    let expires = now + TOKEN_LIFETIME.as_secs().cast_signed();
    let part = |claims: Value| BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let header = part(json!({"alg": "none"}));
    let claims = part(json!({"sub": "worker", "iat": now, "exp": expires}));
    let token = json!({"access_token": format!("{header}.{claims}."), "token_type": "Bearer"});
    let mut response = Response::new(Full::new(token.to_string().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
