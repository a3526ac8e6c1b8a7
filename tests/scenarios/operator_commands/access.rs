//! Operator commands with no more than the documented permissions.

use std::slice;

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    eventually,
    service::{Service, command::CommandOutput},
    stack::{Stack, TIMEOUT},
};

use crate::{
    assertions::{expect_close, expect_notifications},
    context::Context,
    runner::scenarios,
    server_access::redis_acl::{change, definition, run, stack_with_acl, url},
};

scenarios![
    operator_commands_need_no_more_than_the_documented_permissions,
    a_gateway_that_may_not_receive_the_numbers_of_connections_answers_operators,
];

const PASSWORD: &str = "of-redis-51ac";

/// Runs a command as the user `operator`.
async fn run_as_operator(
    stack: &Stack,
    service: &Service,
    arguments: &[&str],
) -> anyhow::Result<CommandOutput> {
    let url = url("operator", PASSWORD, stack.redis.address().port());
    let output = service.command(arguments, &[("REDIS_URL", url)], "").await?;
    ensure!(output.code == Some(0), "{arguments:?}: {output:?}");
    Ok(output)
}

async fn operator_commands_need_no_more_than_the_documented_permissions(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_acl(context).await?;
    run(&mut stack.redis.connection().await?, &definition("operator", PASSWORD)?).await?;
    let (worker, gateway) = (&stack.workers[0], &stack.gateways[0]);
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let event = events::designed()?[0].fresh(&user)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut client, slice::from_ref(&event)).await?;

    let explain = ["explain", "--event", &event.id, "--user", &user, "--since", "1m"];
    let explained = run_as_operator(&stack, worker, &explain).await?.stdout;
    ensure!(explained.contains("published to"), "unexpected: {explained}");
    let parked = run_as_operator(&stack, worker, &["parked"]).await?.stdout;
    ensure!(parked.contains("unfinished records"), "unexpected: {parked}");
    let listed = run_as_operator(&stack, gateway, &["connections", "--user", &user]).await?.stdout;
    ensure!(listed.contains("1 of 1 connections"), "unexpected: {listed}");

    let test = r#"{"event":"test","category":"system_alerts","data":{}}"#;
    worker.run_command(&["send", "--user", &user, "--file", "-"], test).await?;
    let frame = client.next_notification(TIMEOUT).await?;
    ensure!(frame["event"] == "test", "expected the test notification, got {frame}");
    run_as_operator(&stack, gateway, &["disconnect", "--user", &user]).await?;
    expect_close(&mut client, 1012).await?;
    let mut client = stack.client(&user).await?;
    run_as_operator(&stack, gateway, &["revoke", "--user", &user]).await?;
    expect_close(&mut client, 1008).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_gateway_that_may_not_receive_the_numbers_of_connections_answers_operators(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_acl(context).await?;
    let mut admin = stack.redis.connection().await?;
    run(&mut admin, &definition("operator", PASSWORD)?).await?;
    change(&stack, "gateway", &[("&ws/gateways/counts ", "")]).await?;
    run(&mut admin, "CLIENT KILL TYPE pubsub").await?;
    let gateway = &stack.gateways[0];
    eventually("the gateway subscribes again", TIMEOUT, async || {
        let lines = gateway.log()?.lines().filter(|line| line.contains("Redis refuses a")).count();
        ensure!(lines == 1, "expected one line about the refused channel, got {lines}");
        Ok(())
    })
    .await?;
    let user = fresh_user();
    let _client = stack.client(&user).await?;
    let listed = run_as_operator(&stack, gateway, &["connections", "--user", &user]).await?.stdout;
    ensure!(listed.contains("1 of 1 connections"), "unexpected: {listed}");
    stack.shut_down_and_check_logs().await
}
