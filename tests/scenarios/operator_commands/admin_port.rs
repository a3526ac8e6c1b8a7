//! What operators read and change on the admin port of a running service.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    http,
    service::Service,
    stack::{Layout, Stack, TIMEOUT},
};
use hyper::Method;
use serde_json::Value;

use crate::{assertions::expect_notifications, context::Context, runner::scenarios};

scenarios![
    the_log_level_changes_while_a_service_runs,
    the_build_is_named_the_same_in_metrics_and_info,
];

/// Requests another log level; returns the status and the text.
async fn set_level(service: &Service, level: &str) -> anyhow::Result<(u16, String)> {
    let path = format!("/log-level/{level}");
    let response = http::request(Method::PUT, service.admin(), &path, &[]).await?;
    let status = response.status().as_u16();
    Ok((status, String::from_utf8(response.into_body().to_vec())?))
}

fn debug_lines(service: &Service) -> anyhow::Result<usize> {
    Ok(service.log()?.matches(r#""level":"DEBUG""#).count())
}

/// Sends an event and waits until its notification is delivered.
async fn deliver_one(stack: &Stack) -> anyhow::Result<()> {
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let event = events::designed()?[0].fresh(&user)?;
    stack.producer.send(&event).await?;
    expect_notifications(&mut client, &[event]).await
}

async fn the_log_level_changes_while_a_service_runs(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    for service in [&stack.workers[0], &stack.gateways[0]] {
        let (status, text) = set_level(service, "loud").await?;
        let names_levels = text.contains("error, warn, info, debug or trace");
        ensure!(status == 400 && names_levels, "expected the levels, got {status} {text}");
        ensure!(debug_lines(service)? == 0, "{} logs debug lines at INFO", service.name());
        let (status, text) = set_level(service, "debug").await?;
        ensure!(status == 200, "expected a change, got {status} {text}");
    }
    deliver_one(&stack).await?;
    for service in [&stack.workers[0], &stack.gateways[0]] {
        harness::eventually("debug lines are logged", TIMEOUT, async || {
            ensure!(debug_lines(service)? > 0, "{} logs none", service.name());
            Ok(())
        })
        .await?;
        let (status, _) = set_level(service, "info").await?;
        ensure!(status == 200, "expected a change, got {status}");
        let before = debug_lines(service)?;
        deliver_one(&stack).await?;
        let after = debug_lines(service)?;
        ensure!(after == before, "{} logs debug lines: {before}, {after}", service.name());
    }
    stack.shut_down_and_check_logs().await
}

async fn the_build_is_named_the_same_in_metrics_and_info(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for service in [&stack.workers[0], &stack.gateways[0]] {
        let (status, info) = http::get(service.admin(), "/info").await?;
        ensure!(status == 200, "/info: {status} {info}");
        let info: Value = serde_json::from_str(&info)?;
        let label = |name: &str| info[name].as_str().with_context(|| format!("no {name}: {info}"));
        let (commit, version) = (label("commit")?, label("version")?);
        let series = format!(r#"{{commit="{commit}",version="{version}"}}"#);
        let value = service.metric(&format!("notifications_build_info{series}")).await?;
        ensure!(value > 0.0, "no metric with {series}");
        let printed = service.run_command(&["--version"], "").await?.stdout;
        ensure!(printed.contains(version), "expected {version}, got {printed}");
    }
    Ok(())
}
