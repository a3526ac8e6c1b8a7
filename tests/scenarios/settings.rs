//! Settings: bad ones are told all at once, and nothing is connected before they are good.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    service::{self, Settings},
    stack::{Layout, TIMEOUT},
    workspace,
};
use tokio::{net::TcpListener, time::timeout};

use crate::{assertions::expect_notifications, context::Context, runner::scenarios};

scenarios![
    without_a_key_the_gateway_does_not_start,
    bad_settings_of_the_gateway_are_told_all_at_once,
    bad_settings_of_the_worker_are_told_all_at_once,
    a_secret_never_reaches_the_log,
    a_port_that_is_taken_is_named,
    the_usual_ports_may_be_taken,
];

/// Runs a service that cannot start, and returns its exit code and what it said. Checks that it
/// connected to nothing.
async fn fail(binary: &str, settings: &[(&str, &str)]) -> anyhow::Result<(i32, String)> {
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
    let connected = timeout(Duration::ZERO, servers.accept()).await;
    ensure!(connected.is_err(), "it has connected to {connected:?}");
    let log = std::fs::read_to_string(process.log())?;
    Ok((status.code().with_context(|| format!("ended by a signal: {log}"))?, log))
}

fn check(code: i32, said: &str, wanted: &[&str]) -> anyhow::Result<()> {
    ensure!(code == 2, "exit code {code}: {said}");
    for wanted in wanted {
        ensure!(said.contains(wanted), "no word of {wanted} in: {said}");
    }
    let messages = said.matches("invalid settings").count();
    ensure!(messages == 1, "{messages} messages: {said}");
    Ok(())
}

async fn without_a_key_the_gateway_does_not_start(_: &Context) -> anyhow::Result<()> {
    let (code, said) = fail("ws-gateway", &[]).await?;
    check(code, &said, &["JWT_SECRET_KEY"])?;
    let (code, said) = fail("ws-gateway", &[("JWT_SECRET_KEY", "")]).await?;
    check(code, &said, &["JWT_SECRET_KEY"])
}

async fn bad_settings_of_the_gateway_are_told_all_at_once(_: &Context) -> anyhow::Result<()> {
    let (code, said) = fail(
        "ws-gateway",
        &[
            ("WEBSOCKET_PORT", "eighty"),
            ("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "0"),
            ("WEBSOCKET_PING_INTERVAL", "soon"),
            ("JWT_ALGORITHM", "none"),
            ("CORS_ORIGINS", "not a list"),
            ("REDIS_URL", "http://somewhere"),
            ("LOG_LEVEL", "LOUD"),
        ],
    )
    .await?;
    check(
        code,
        &said,
        &[
            "WEBSOCKET_PORT",
            "WEBSOCKET_MAX_CONNECTIONS_PER_USER",
            "WEBSOCKET_PING_INTERVAL",
            "JWT_ALGORITHM",
            "CORS_ORIGINS",
            "REDIS_URL",
            "LOG_LEVEL",
            "JWT_SECRET_KEY",
        ],
    )
}

async fn bad_settings_of_the_worker_are_told_all_at_once(_: &Context) -> anyhow::Result<()> {
    let (code, said) = fail(
        "ingest-worker",
        &[
            ("ADMIN_PORT", "-1"),
            ("IDEMPOTENCY_TTL", "never"),
            ("IDEMPOTENCY_IDENTITY", "luck"),
            ("REDIS_CHANNEL_PREFIX", "w*"),
            ("KAFKA_AUTO_OFFSET_RESET", "middle"),
        ],
    )
    .await?;
    let names = [
        "ADMIN_PORT",
        "IDEMPOTENCY_TTL",
        "IDEMPOTENCY_IDENTITY",
        "REDIS_CHANNEL_PREFIX",
        "KAFKA_AUTO_OFFSET_RESET",
    ];
    check(code, &said, &names)
}

async fn a_secret_never_reaches_the_log(_: &Context) -> anyhow::Result<()> {
    for service in ["ws-gateway", "ingest-worker"] {
        let settings = [
            ("REDIS_URL", "http://user:hunter2@somewhere"),
            ("JWT_SECRET_KEY", "hunter2-and-some-more"),
            ("ADMIN_PORT", "none"),
        ];
        let (code, said) = fail(service, &settings).await?;
        check(code, &said, &["REDIS_URL", "ADMIN_PORT"])?;
        ensure!(!said.contains("hunter2"), "the secret is told: {said}");
    }
    Ok(())
}

async fn a_port_that_is_taken_is_named(_: &Context) -> anyhow::Result<()> {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = taken.local_addr()?.port().to_string();
    let settings =
        [("JWT_SECRET_KEY", "a secret that is long enough for all"), ("ADMIN_PORT", &*port)];
    let (code, said) = fail("ws-gateway", &settings).await?;
    ensure!(code == 1, "exit code {code}: {said}");
    ensure!(said.contains("ADMIN_PORT") && said.contains(&port), "{said}");
    Ok(())
}

async fn the_usual_ports_may_be_taken(context: &Context) -> anyhow::Result<()> {
    let mut taken = Vec::new();
    for port in [6379, 8080, 9090, 9092] {
        // If it cannot be taken, somebody else has it: just as well.
        taken.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok());
    }
    let (stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    drop(client);
    stack.shut_down_and_check_logs().await
}
