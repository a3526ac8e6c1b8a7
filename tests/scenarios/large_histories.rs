//! Histories of many entries, and of entries that no worker writes: a client resumes from all that a
//! worker keeps, and the memory of a gateway does not depend on what other software has written.

use anyhow::ensure;
use futures_util::future::try_join_all;
use harness::{
    client::Client,
    events::fresh_user,
    redis::stream_key,
    stack::{Layout, Stack, TIMEOUT},
    usage,
};
use redis::pipe;

use crate::{context::Context, runner::scenarios};

scenarios![
    a_client_resumes_from_a_history_of_thousands_of_notifications,
    entries_larger_than_any_notification_take_little_memory_and_make_a_resume_incomplete,
];

fn notification(text: &str) -> String {
    format!(r#"{{"event":"e","data":"{text}"}}"#)
}

/// Adds notifications to the history of a user, at `first`-0 and the next positions.
async fn add(stack: &Stack, user: &str, first: usize, texts: &[String]) -> anyhow::Result<()> {
    let mut redis = stack.redis.connection().await?;
    let mut adding = pipe();
    for (number, text) in texts.iter().enumerate() {
        let id = format!("{}-0", first + number);
        adding.cmd("XADD").arg(stream_key(user)).arg(id).arg("n").arg(text);
    }
    Ok(adding.exec_async(&mut redis).await?)
}

/// Resumes at the first position.
async fn resume(stack: &Stack, user: &str, expected: &str) -> anyhow::Result<Client> {
    let mut client = stack.connection(0, user)?.query("last_event_id", "1-0").open().await?;
    let state = client.expect_authenticated(TIMEOUT).await?;
    ensure!(state["resume"] == expected, "expected resume {expected}, got {state}");
    Ok(client)
}

async fn a_client_resumes_from_a_history_of_thousands_of_notifications(
    context: &Context,
) -> anyhow::Result<()> {
    const ENTRIES: usize = 10_000;
    let (stack, user) = (context.stack().await?, fresh_user());
    add(stack, &user, 1, &vec![notification("short"); ENTRIES]).await?;
    let mut client = resume(stack, &user, "complete").await?;
    for number in 2..=ENTRIES {
        let frame = client.next_frame(TIMEOUT).await?;
        let id = format!("{number}-0");
        ensure!(frame["id"] == *id, "expected the notification {id}, got {frame}");
    }
    Ok(())
}

async fn entries_larger_than_any_notification_take_little_memory_and_make_a_resume_incomplete(
    context: &Context,
) -> anyhow::Result<()> {
    const CLIENTS: usize = 2;
    const MAX_GROWTH_MIB: f64 = 32.0;
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let gateway = stack.gateways[0].process().id();
    for (count, bytes) in [(2, 10_000_000), (4, 5_000_000)] {
        let user = fresh_user();
        add(&stack, &user, 1, &[notification("received")]).await?;
        for number in 0..count {
            let large = notification(&"x".repeat(bytes));
            add(&stack, &user, 2 + number, &[large]).await?;
        }
        add(&stack, &user, 2 + count, &[notification("missed")]).await?;
        usage::reset_peak(gateway)?;
        let before = usage::of(gateway)?.peak_kib;
        let resumes = (0..CLIENTS).map(|_| async {
            let mut client = resume(&stack, &user, "incomplete").await?;
            let frame = client.next_notification(TIMEOUT).await?;
            ensure!(frame["data"] == "missed", "expected the last notification, got {frame}");
            Ok(client)
        });
        let _clients = try_join_all(resumes).await?;
        let peak = usage::of(gateway)?.peak_kib;
        let growth = f64::from(u32::try_from(peak.saturating_sub(before))?) / 1024.0;
        eprintln!("{CLIENTS} resumes, {count} entries of {bytes} bytes: {growth:.1} MiB");
        ensure!(growth < MAX_GROWTH_MIB, "expected below {MAX_GROWTH_MIB} MiB");
    }
    stack.shut_down_and_check_logs().await
}
