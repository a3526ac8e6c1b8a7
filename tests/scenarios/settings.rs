//! Invalid settings are reported all at once, before any connection is opened, and show no secret.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{
    service::{self, Settings},
    stack::{Layout, TIMEOUT},
    workspace,
};
use tokio::{net::TcpListener, time::timeout};

use crate::{assertions::expect_delivery, context::Context, runner::scenarios};

scenarios![
    invalid_settings_are_reported_all_at_once_without_secrets,
    settings_that_contradict_each_other_are_refused,
    a_port_in_use_is_named_with_its_setting,
    the_default_ports_may_be_in_use,
];

/// Runs a service that must not start, checks that it connects to no server, and returns its exit
/// code and its log.
async fn fail_to_start(binary: &str, settings: &[(&str, &str)]) -> anyhow::Result<(i32, String)> {
    let folder = workspace::temporary("settings-")?;
    let servers = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = servers.local_addr()?;
    let mut all: Settings = [
        ("REDIS_URL", format!("redis://{address}")),
        ("KAFKA_BOOTSTRAP_SERVERS", address.to_string()),
        ("BIND_ADDRESS", "127.0.0.1".to_owned()),
        ("WEBSOCKET_PORT", "0".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let process = service::launch(binary, &folder.path().join("log"), &all)?;
    let status = process.wait_for_exit(TIMEOUT).await?;
    let connection = timeout(Duration::ZERO, servers.accept()).await;
    ensure!(connection.is_err(), "{binary} opened a connection: {connection:?}");
    let log = std::fs::read_to_string(process.log())?;
    Ok((status.code().with_context(|| format!("ended by a signal: {log}"))?, log))
}

/// A secret that no log may contain.
const SECRET: &str = "hunter2-and-some-more";

/// Settings of the worker with a value that is not valid.
const INVALID_OF_WORKER: [(&str, &str); 10] = [
    ("ADMIN_PORT", "-1"),
    ("IDEMPOTENCY_TTL", "never"),
    ("IDEMPOTENCY_IDENTITY", "luck"),
    ("REDIS_CHANNEL_PREFIX", "w*"),
    ("KAFKA_AUTO_OFFSET_RESET", "middle"),
    ("KAFKA_CONSUMER_GROUP", " "),
    ("HISTORY_MAX_LEN", "18446744073709551615"),
    ("OWNER_TTL", "18446744073709551615ms"),
    ("KAFKA_PROPERTY_SASL_JAAS_CONFIG", SECRET),
    ("KAFKA_PROPERTY_GROUP_ID", "other"),
];

async fn invalid_settings_are_reported_all_at_once_without_secrets(
    _: &Context,
) -> anyhow::Result<()> {
    let url = format!("http://user:{SECRET}@somewhere");
    let of_gateway = [
        ("WEBSOCKET_PORT", "eighty"),
        ("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "0"),
        ("WEBSOCKET_PING_INTERVAL", "soon"),
        ("JWT_ALGORITHM", "none"),
        ("CORS_ORIGINS", "not a list"),
        ("REDIS_URL", &url),
        ("LOG_LEVEL", "LOUD"),
        // Empty counts as missing.
        ("JWT_SECRET_KEY", ""),
    ];
    let of_worker = [&INVALID_OF_WORKER[..], &[("REDIS_URL", &*url)]].concat();
    let without_secret = [("REDIS_URL", &*url), ("ADMIN_PORT", "none")];
    let with_secret = [&without_secret[..], &[("JWT_SECRET_KEY", SECRET)]].concat();
    let names = |settings: &[(&'static str, &str)]| -> Vec<&str> {
        settings.iter().map(|(name, _)| *name).collect()
    };
    for (binary, settings, expected) in [
        ("ws-gateway", &[][..], vec!["JWT_SECRET_KEY"]),
        ("ws-gateway", &of_gateway, names(&of_gateway)),
        ("ingest-worker", &of_worker, names(&of_worker)),
        ("ingest-worker", &[("KAFKA_PROPERTY_ACKS", "1")], vec!["dead-letter producer", "acks"]),
        ("ws-gateway", &with_secret, names(&without_secret)),
    ] {
        let (code, log) = fail_to_start(binary, settings).await?;
        ensure!(code == 2, "{binary}: expected exit code 2, got {code}: {log}");
        for name in expected {
            ensure!(log.contains(name), "{binary}: expected an error for {name}, got {log}");
        }
        let messages = log.matches("invalid settings").count();
        ensure!(messages == 1, "{binary}: expected one message, got {messages}: {log}");
        ensure!(!log.contains(SECRET), "{binary}: the log contains a secret: {log}");
    }
    Ok(())
}

async fn settings_that_contradict_each_other_are_refused(_: &Context) -> anyhow::Result<()> {
    let secret = ("JWT_SECRET_KEY", SECRET);
    // All databases of a server share the channels of a prefix.
    let database = ("REDIS_URL", "redis://127.0.0.1:1/1");
    for (binary, settings, name) in [
        ("ws-gateway", &[database, secret][..], "REDIS_CHANNEL_PREFIX"),
        ("ingest-worker", &[database], "REDIS_CHANNEL_PREFIX"),
        ("ws-gateway", &[("WEBSOCKET_IDLE_TIMEOUT", "29s"), secret], "WEBSOCKET_IDLE_TIMEOUT"),
    ] {
        let (code, log) = fail_to_start(binary, settings).await?;
        ensure!(code == 2, "{binary}: expected exit code 2, got {code}: {log}");
        ensure!(log.contains(name), "{binary}: expected an error for {name}, got {log}");
    }
    Ok(())
}

async fn a_port_in_use_is_named_with_its_setting(_: &Context) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port().to_string();
    let secret = ("JWT_SECRET_KEY", "a secret that is long enough for all");
    let (code, log) = fail_to_start("ws-gateway", &[secret, ("ADMIN_PORT", &port)]).await?;
    ensure!(code == 1, "expected exit code 1, got {code}: {log}");
    ensure!(log.contains("ADMIN_PORT") && log.contains(&port), "expected ADMIN_PORT={port}: {log}");
    Ok(())
}

async fn the_default_ports_may_be_in_use(context: &Context) -> anyhow::Result<()> {
    let mut listeners = Vec::new();
    for port in [6379, 8080, 9090, 9092] {
        // If this fails, another process uses the port already.
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok());
    }
    let stack = context.own_stack(&Layout::default()).await?;
    expect_delivery(&stack).await?;
    stack.shut_down_and_check_logs().await
}
