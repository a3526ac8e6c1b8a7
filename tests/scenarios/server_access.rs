//! Servers that let in only whom they know, and services that trust only servers they know: users
//! with no more rights than their role needs, TLS with names that are checked, passwords.

pub(crate) mod redis_acl;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{
    certificates::{Certificates, HOST},
    events::{self, fresh_user},
    eventually,
    kafka::PASSWORD as KAFKA_PASSWORD,
    redis::Redis,
    service::Service,
    stack::{Layout, Stack, TIMEOUT},
    workspace,
};
use tokio::time::Instant;

use crate::{
    assertions::expect_notifications, context::Context, requirements::Skipped, runner::scenarios,
};

scenarios![
    redis_is_trusted_by_its_certificate_and_its_name,
    kafka_is_trusted_by_its_certificate_and_its_name_and_knows_the_worker,
];

/// Waits until a service has said a word in its log.
async fn told(service: &Service, word: &str) -> anyhow::Result<()> {
    eventually(&format!("{} says {word}", service.name()), TIMEOUT, async || {
        ensure!(service.log()?.contains(word), "it does not");
        Ok(())
    })
    .await
}

/// A stack on a Redis that is reached by TLS, and the port for that.
async fn secured(context: &Context, trust: bool, host: &str) -> anyhow::Result<Option<Stack>> {
    let folder = workspace::temporary("stack-")?;
    let certificates = Certificates::create(folder.path())?;
    let (redis, port) = Redis::start_with_tls(folder.path(), &certificates).await?;
    let mut settings = vec![("REDIS_URL", format!("rediss://{host}:{port}"))];
    if trust {
        settings.push(("SSL_CERT_FILE", certificates.authority.display().to_string()));
    }
    let (worker_settings, gateway_settings) = (settings.clone(), settings);
    if trust && host == HOST {
        let layout = Layout { worker_settings, gateway_settings, ..Layout::default() };
        return Ok(Some(context.stack_with_redis(&layout, folder, redis).await?));
    }
    refused("ws-gateway", folder.path(), &gateway_settings, "certificate").await?;
    Ok(None)
}

/// Starts a service that must not trust, or not be trusted, and waits until it says so. It stays
/// alive, is not ready, and counts.
async fn refused(
    binary: &'static str,
    folder: &Path,
    settings: &[(&str, String)],
    word: &str,
) -> anyhow::Result<Service> {
    let own = [
        ("BIND_ADDRESS", "127.0.0.1".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
    ];
    let for_gateways =
        [("WEBSOCKET_PORT", "0".to_owned()), ("JWT_SECRET_KEY", harness::token::fresh_secret())];
    let own = own.iter().chain(for_gateways.iter().filter(|_| binary == "ws-gateway"));
    let all = own.chain(settings).map(|(name, value)| ((*name).to_owned(), value.clone()));
    let name = format!("{binary}-{}", uuid::Uuid::new_v4().simple());
    let service = Service::start(binary, name, folder, all.collect()).await?;
    told(&service, word).await?;
    let (status, _) = harness::http::get(service.admin(), "/readyz").await?;
    ensure!(status == 503, "it is ready: {status}");
    let (status, _) = harness::http::get(service.admin(), "/livez").await?;
    ensure!(status == 200, "it is dead: {status}");
    Ok(service)
}

async fn redis_is_trusted_by_its_certificate_and_its_name(context: &Context) -> anyhow::Result<()> {
    let stack = secured(context, true, HOST).await?.context("it is to be trusted")?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    stack.shut_down_and_check_logs().await?;
    // By a name that is not in the certificate, and from an authority that nobody knows.
    secured(context, true, "127.0.0.1").await?;
    secured(context, false, HOST).await?;
    Ok(())
}

async fn kafka_is_trusted_by_its_certificate_and_its_name_and_knows_the_worker(
    context: &Context,
) -> anyhow::Result<()> {
    let kafka = context.durable_kafka().await?;
    let Ok(secured) = kafka.secured() else {
        return Err(Skipped("the broker that was given has no listener that is known").into());
    };
    let worker_settings = secured.worker_settings();
    let layout = Layout { worker_settings: worker_settings.clone(), ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    let folder = workspace::temporary("refused-")?;
    let strangers = Certificates::create(folder.path())?;
    let with = |name: &str, value: String| {
        let mut settings = worker_settings.clone();
        settings.retain(|(other, _)| *other != name);
        settings.push(("REDIS_URL", format!("redis://{}", stack.redis.address())));
        let name = worker_settings.iter().find(|(other, _)| *other == name).map(|(name, _)| *name);
        settings.extend(name.map(|name| (name, value)));
        settings
    };
    let port = secured.port;
    let wrong = [
        (with("KAFKA_PROPERTY_SASL_PASSWORD", "not-this-one".into()), "uthentication"),
        (
            with("KAFKA_PROPERTY_SSL_CA_LOCATION", strangers.authority.display().to_string()),
            "ertificate",
        ),
        (with("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{port}")), "ertificate"),
    ];
    for (settings, word) in wrong {
        let worker = refused("ingest-worker", folder.path(), &settings, word).await?;
        let log = worker.log()?;
        ensure!(!log.contains(KAFKA_PASSWORD) && !log.contains("not-this-one"), "{log}");
        at_leisure(&worker).await?;
    }
    stack.shut_down_and_check_logs().await
}

/// Checks that a worker that is refused goes on trying, and not all the time.
async fn at_leisure(worker: &Service) -> anyhow::Result<()> {
    let errors = async || {
        let page = worker.metrics().await?;
        harness::http::metric(&page, "ingest_worker_kafka_errors_total").context("it counts errors")
    };
    let (began, before) = (Instant::now(), errors().await?);
    let after = eventually("it is refused once more", TIMEOUT, async || {
        let after = errors().await?;
        ensure!(after > before, "it is not");
        Ok(after)
    })
    .await?;
    let seconds = began.elapsed().max(Duration::from_secs(1)).as_secs_f64();
    ensure!((after - before) / seconds < 20.0, "{} errors in {seconds:.1} s", after - before);
    Ok(())
}
