//! The commands of operators: they ask running services, and act on one user.

pub(crate) mod access;
pub(crate) mod admin_port;
pub(crate) mod check;

use std::{net::Ipv4Addr, process::Command, time::Duration};

use anyhow::{Context as _, bail, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    process::{Process, Signal},
    producer::Producer,
    service::Service,
    stack::{Layout, Stack, TIMEOUT},
    workspace,
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

use crate::{
    assertions::{expect_close, expect_notifications},
    context::Context,
    runner::scenarios,
    under_load::RECOVERY_TIMEOUT,
};

scenarios![
    connections_of_a_user_are_listed_and_closed_at_every_gateway,
    a_teacher_who_was_not_notified_is_answered_in_three_commands,
    an_event_is_explained_while_it_waits_for_its_owner_and_once_it_is_published,
    an_interrupted_command_does_not_wait_for_the_brokers,
];

/// Longest time for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Runs a command with `--json` and returns what it prints.
async fn json(service: &Service, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = service.run_command(&[arguments, &["--json"]].concat(), "").await?;
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("{arguments:?}: {}", output.stdout))
}

/// The connections in the answers of all gateways.
fn connections(answers: &Value) -> Vec<&Value> {
    let gateways = answers.as_array().into_iter().flatten();
    gateways.flat_map(|gateway| gateway["connections"].as_array().into_iter().flatten()).collect()
}

async fn connections_of_a_user_are_listed_and_closed_at_every_gateway(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { gateways: 2, ..Layout::default() }).await?;
    let (user, other) = (fresh_user(), fresh_user());
    let mut clients = Vec::new();
    for gateway in [0, 1] {
        clients.push(stack.client_at(gateway, &user).await?);
    }
    let mut bystander = stack.client(&other).await?;
    let filter = json!({"type": "filter", "categories": ["system_alerts"]});
    clients[1].send_json(&filter).await?;

    expect_listed(&stack, &user, &other).await?;
    let disconnect = ["disconnect", "--user", &user, "--by", "night-shift"];
    let closed = json(&stack.gateways[0], &disconnect).await?;
    ensure!(connections(&closed).len() == 2, "expected two closed connections, got {closed}");
    for client in &mut clients {
        expect_close(client, 1012).await?;
    }
    for gateway in &stack.gateways {
        let log = gateway.log()?;
        let audit = log.lines().find(|line| line.contains("closed by operator"));
        let audit =
            audit.with_context(|| format!("no audit line in the log of {}", gateway.name()))?;
        ensure!(audit.contains("night-shift") && audit.contains(&user), "unexpected: {audit}");
    }
    let event = events::designed()?[0].fresh(&other)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut bystander, &[event]).await?;
    stack.shut_down_and_check_logs().await
}

/// Expects that a connection of `user` is listed at each of two gateways, and none of `other`.
async fn expect_listed(stack: &Stack, user: &str, other: &str) -> anyhow::Result<()> {
    let list = ["connections", "--user", user];
    let asked = Instant::now();
    let answers = eventually("the filter is listed", TIMEOUT, async || {
        let answers = json(&stack.gateways[0], &list).await?;
        let filters = connections(&answers).into_iter().map(|info| info["categories"].clone());
        let filters: Vec<Value> = filters.collect();
        ensure!(filters.contains(&json!(["system_alerts"])), "no filter in {answers}");
        Ok(answers)
    })
    .await?;
    eprintln!("connections listed within {:?}", asked.elapsed());
    let listed = connections(&answers);
    ensure!(listed.len() == 2, "expected two connections, got {answers}");
    for (gateway, connection) in stack.gateways.iter().zip([0, 1]) {
        let port = format!(":{}", gateway.address().port());
        let names: Vec<&str> = answers
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|a| a["gateway"].as_str())
            .collect();
        ensure!(names.iter().any(|name| name.ends_with(&port)), "no {port} in {names:?}");
        let info = listed[connection];
        ensure!(info["user"] == *user && info["address"] == "127.0.0.1", "unexpected {info}");
        ensure!(info["transport"] == "websocket" && info["queued"] == 0, "unexpected {info}");
    }
    let table = stack.gateways[1].run_command(&list, "").await?.stdout;
    ensure!(table.contains("LAST ACTIVITY") && table.contains(user), "no table: {table}");
    ensure!(!table.contains(other), "another user's connection is listed: {table}");
    Ok(())
}

/// Explains the only record of an event, once it has this state.
async fn explained(worker: &Service, event: &Event, state: &str) -> anyhow::Result<Value> {
    eventually(&format!("the event is {state}"), RECOVERY_TIMEOUT, async || {
        let asked = Instant::now();
        let reports = json(worker, &["explain", "--event", &event.id, "--since", "1m"]).await?;
        let elapsed = asked.elapsed();
        eprintln!("explained within {elapsed:?}");
        ensure!(elapsed < ANSWER_LIMIT, "expected an answer within {ANSWER_LIMIT:?}");
        let [report] = reports.as_array().map_or(&[][..], Vec::as_slice) else {
            bail!("expected one record, got {reports}");
        };
        ensure!(report["state"] == state, "expected {state}, got {report}");
        Ok(report.clone())
    })
    .await
}

async fn a_teacher_who_was_not_notified_is_answered_in_three_commands(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_broker(&Layout::default()).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut event = events::designed()?[0].fresh(&user)?;
    // A producer's mistake: the event names no subject.
    event.envelope["data"] = json!({"user_id": user});
    stack.producer.send(&event).await?;

    let report = explained(&stack.workers[0], &event, "dead_lettered").await?;
    let reason = &report["dead_letters"][0]["reason"];
    ensure!(reason == "malformed", "expected the reason malformed, got {report}");
    let listed = ["connections", "--user", &user];
    let answers = json(&stack.gateways[0], &listed).await?;
    ensure!(connections(&answers).len() == 1, "expected one connection, got {answers}");
    let notification = r#"{"event":"test","category":"system_alerts","data":{"text":"hello"}}"#;
    let arguments = ["send", "--user", &user, "--file", "-"];
    let sent = stack.workers[0].run_command(&arguments, notification).await?.stdout;
    let frame = client.next_notification(TIMEOUT).await?;
    let id = frame["event_id"].as_str().context("no event_id")?;
    ensure!(frame["event"] == "test" && sent.contains(id), "expected {sent}, got {frame}");
    let history = stack.stream(&user).await?;
    ensure!(history.len() == 1, "expected one entry in the history, got {history:?}");
    stack.shut_down_and_check_logs().await
}

async fn an_event_is_explained_while_it_waits_for_its_owner_and_once_it_is_published(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("OWNER_WAIT", "10m".to_owned())];
    let stack = context.own_broker(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut event = events::one_of_each(&user)?.swap_remove(2);
    let registration = event.registration();
    for field in ["user_id", "teacher_id", "created_by_user_id"] {
        event.envelope["data"].as_object_mut().map(|data| data.remove(field));
    }
    // Its partition then ends in a transaction marker, which is no record.
    let producer = Producer::with(&stack.kafka, &[("transactional.id", &user)])?;
    producer.init_transactions().await?;
    producer.transaction(&[event.clone()], true).await?;
    let worker = &stack.workers[0];
    let waits = explained(worker, &event, "waits_for_owner").await?;
    let parked = json(worker, &["parked"]).await?;
    let same =
        |other: &Value| ["topic", "partition", "offset"].iter().all(|f| other[f] == waits[f]);
    let is_listed = parked.as_array().is_some_and(|all| all.iter().any(same));
    ensure!(is_listed, "expected {waits} in {parked}");

    stack.producer.send(&registration).await?;
    expect_notifications(&mut client, &[event.clone()]).await?;
    let published = explained(worker, &event, "published").await?;
    let position = stack.stream(&user).await?[0].0.clone();
    ensure!(published["position"] == *position, "expected {position}, got {published}");
    ensure!(published["user"] == *user, "expected {user}, got {published}");
    let text =
        worker.run_command(&["explain", "--event", &event.id, "--since", "1m"], "").await?.stdout;
    ensure!(text.contains("outcome     published to"), "unexpected text: {text}");
    stack.shut_down_and_check_logs().await
}

async fn an_interrupted_command_does_not_wait_for_the_brokers(_: &Context) -> anyhow::Result<()> {
    let folder = workspace::temporary("interrupted")?;
    // It never answers, which the command would wait for.
    let broker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let servers = broker.local_addr()?.to_string();
    let mut command = Command::new(workspace::binary("ingest-worker")?);
    command.args(["--kafka-bootstrap-servers", &servers, "dead-letters", "list"]);
    let command = Process::start("ingest-worker", &command, &folder.path().join("log"))?;
    let _connection = timeout(TIMEOUT, broker.accept()).await??;
    let interrupted = Instant::now();
    command.signal(Signal::INT)?;
    let status = command.wait_for_exit(TIMEOUT).await?;
    let (log, elapsed) = (std::fs::read_to_string(command.log())?, interrupted.elapsed());
    let is_expected = status.code() == Some(1) && log.contains(r#""error":"interrupted""#);
    ensure!(is_expected, "expected exit code 1 for an interrupt, got {status}: {log}");
    ensure!(elapsed < Duration::from_secs(5), "ended after {elapsed:?}");
    Ok(())
}
