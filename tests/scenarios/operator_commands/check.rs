//! The command `check`: it passes where the services work, and names what they lack.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    free_port,
    service::{Service, command::CommandOutput},
    stack::Layout,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    context::Context,
    runner::scenarios,
    server_access::redis_acl::{change, stack_with_acl},
};

scenarios![
    a_check_passes_with_the_documented_permissions_and_names_each_that_is_missing,
    a_check_names_what_a_worker_cannot_work_with,
    a_check_names_what_a_gateway_cannot_work_with,
];

/// Longest time for a check, with the start of its process.
const LIMIT: Duration = Duration::from_secs(11);

/// Parts of the documented permissions, and the rule that is missing without each.
const OF_WORKER: [(&str, &str); 7] = [
    ("&ws:* ", "+publish &ws:*"),
    (" +script|load", "+script|load"),
    (" +evalsha ~ws:seen:*", "+evalsha ~ws:seen:*"),
    (" ~ws:owner:*", "+get ~ws:owner:*"),
    ("+xadd ", "+xadd ~ws:stream:*"),
    ("+hset ", "+hset ~ws:watermark:*"),
    ("+hmget ", "+hmget ~ws:watermark:*"),
];
const OF_GATEWAY: [(&str, &str); 8] = [
    ("&ws:* ", "+subscribe &ws:*"),
    ("&ws/revoked ", "+subscribe &ws/revoked"),
    ("&ws/gateways/counts ", "+subscribe &ws/gateways/counts"),
    (" &ws/gateways/*", "+publish &ws/gateways/*"),
    ("+eval ", "+eval ~ws:stream:*"),
    ("+xrevrange ", "+xrevrange %R~ws:stream:*"),
    ("+getrange ", "+getrange %R~ws:position:*"),
    ("+zrevrangebyscore ", "+zrevrangebyscore %R~ws:revoked"),
];

/// Runs the check with some settings replaced.
pub(crate) async fn check(
    service: &Service,
    changed: &[(&str, String)],
) -> anyhow::Result<CommandOutput> {
    let started = Instant::now();
    let output = service.command(&["check"], changed, "").await?;
    let elapsed = started.elapsed();
    ensure!(elapsed < LIMIT, "expected an end within {LIMIT:?}, it took {elapsed:?}: {output:?}");
    Ok(output)
}

/// Expects that a line of the findings begins with `result` and contains `text`.
pub(crate) fn expect_finding(
    output: &CommandOutput,
    result: &str,
    text: &str,
) -> anyhow::Result<()> {
    let is_expected = |line: &str| line.starts_with(result) && line.contains(text);
    let found = output.stdout.lines().any(is_expected);
    ensure!(found, "expected `{result} ... {text}`, got {output:?}");
    let code = i32::from(result == "FAILED");
    ensure!(output.code == Some(code), "expected exit code {code}, got {output:?}");
    Ok(())
}

async fn a_check_passes_with_the_documented_permissions_and_names_each_that_is_missing(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_acl(context).await?;
    let cases = [
        ("worker", &stack.workers[0], &OF_WORKER[..]),
        ("gateway", &stack.gateways[0], &OF_GATEWAY),
    ];
    for (user, service, parts) in cases {
        let json = service.command(&["check", "--json"], &[], "").await?;
        let findings: Value = serde_json::from_str(&json.stdout)?;
        let results: Vec<_> = findings.as_array().context("no list")?.iter().collect();
        let works = results.iter().all(|finding| finding["result"] != "failed");
        ensure!(works && json.code == Some(0), "{user}: expected no failure, got {json:?}");
        for (part, rule) in parts {
            change(&stack, user, &[(part, "")]).await?;
            expect_finding(&check(service, &[]).await?, "FAILED", rule)?;
        }
        change(&stack, user, &[]).await?;
        expect_finding(&check(service, &[]).await?, "ok", "Redis: version")?;
    }
    stack.check_logs_and_discard()
}

async fn a_check_names_what_a_worker_cannot_work_with(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let stack = context.own_stack(&Layout { gateways: 0, ..Layout::default() }).await?;
    let worker = &stack.workers[0];
    let closed = format!("127.0.0.1:{}", free_port()?);
    for (setting, value, result, text) in [
        ("BATCH_ESSAYS_READY_TOPIC", "no-such-topic", "note", "no-such-topic"),
        ("MAX_EVENT_AGE", "1h", "ok", " topics can be read"),
        ("MAX_EVENT_AGE", "1h", "ok", &format!("{} can be written", stack.dead_letter_topic)),
        ("DEAD_LETTER_TOPIC", "no-such-topic", "FAILED", "no-such-topic does not exist"),
        ("KAFKA_BOOTSTRAP_SERVERS", &closed, "FAILED", "no broker answers"),
        ("REDIS_URL", &format!("redis://{closed}"), "FAILED", "check REDIS_URL"),
        ("REDIS_WAIT_REPLICAS", "1", "FAILED", "0 replicas, REDIS_WAIT_REPLICAS demands 1"),
    ] {
        let output = check(worker, &[(setting, value.to_owned())]).await?;
        expect_finding(&output, result, text).with_context(|| format!("{setting}={value}"))?;
    }
    let findings = check(worker, &[]).await?.stdout;
    let finds_all = !findings.contains("do not exist") && !findings.contains(" 0 topics");
    ensure!(finds_all, "expected to read all topics, got {findings}");
    let invalid = check(worker, &[("KAFKA_PROPERTY_ACKS", "1".to_owned())]).await?;
    ensure!(invalid.code == Some(2), "expected exit code 2, got {invalid:?}");
    stack.shut_down_and_check_logs().await
}

async fn a_check_names_what_a_gateway_cannot_work_with(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let gateway = &stack.gateways[0];
    let closed = format!("127.0.0.1:{}", free_port()?);
    let url = |scheme: &str| format!("{scheme}://{closed}");
    for (setting, value, text) in [
        ("JWT_SECRET_KEY_FILE", "/no-such-file".to_owned(), "keys: /no-such-file"),
        ("JWT_JWKS_URL", url("http"), "keys: JWT_JWKS_URL"),
        ("REDIS_URL", url("redis"), "check REDIS_URL"),
    ] {
        let output = check(gateway, &[(setting, value)]).await?;
        expect_finding(&output, "FAILED", text).with_context(|| setting.to_owned())?;
    }
    expect_finding(&check(gateway, &[]).await?, "ok", "key and certificate files are valid")?;
    stack.shut_down_and_check_logs().await
}
