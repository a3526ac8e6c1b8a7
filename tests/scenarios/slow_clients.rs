//! Clients that read too slowly: closed with 1013, resumed without loss; other clients are not delayed.

use anyhow::{Context as _, ensure};
use harness::{
    client::{Client, Closed},
    events::{self, Event, fresh_user},
    eventually,
    redis::stream_key,
    stack::{Layout, Stack, TIMEOUT},
};
use support::delivery_checker::DeliveryChecker;

use crate::{
    assertions::during_two_redis_probes, context::Context, runner::scenarios, under_load::UnderLoad,
};

scenarios![
    a_slow_client_is_closed_and_resumes_without_loss_while_others_are_served,
    a_large_history_takes_little_memory_while_clients_do_not_read,
];

/// Events for the slow client: 25 MiB, more than the socket buffers of both sides hold.
const EVENTS: usize = 400;
const TEXT_SIZE: usize = 64 << 10;
/// Small enough that the socket stays full while the client does not read, and above a segment of
/// the loopback device (64 KiB): with a smaller window the kernel sends only when a timer fires,
/// and the client does not reach the close frame while the gateway waits for it.
const RECEIVE_BUFFER: u32 = 256 << 10;

async fn a_slow_client_is_closed_and_resumes_without_loss_while_others_are_served(
    context: &Context,
) -> anyhow::Result<()> {
    // Holds what a busy machine delivers to the fast clients at once, but not all events.
    let gateway_settings = vec![("OUTBOX_CAPACITY", "100".to_owned())];
    let worker_settings = vec![
        ("HISTORY_MAX_LEN", "10000".to_owned()),
        ("MAX_NOTIFICATION_SIZE", (2 * TEXT_SIZE).to_string()),
    ];
    let layout = Layout { worker_settings, gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let connection = stack.connection(0, &user)?;
    let mut slow = connection.clone().receive_buffer(RECEIVE_BUFFER).open().await?;
    slow.expect_authenticated(TIMEOUT).await?;
    let load = UnderLoad::start(stack, "slow client").await?;
    let (events, mut checker) = (large_events(&user)?, DeliveryChecker::default());
    for event in &events {
        checker.record_sent(&user, &event.id);
    }
    // It reads as soon as it counts as slow: the gateway keeps a close frame for a short time only.
    let read = async {
        wait_until_too_slow(&load.stack).await?;
        anyhow::Ok(read_to_end(&mut slow, &user, &mut checker).await)
    };
    let (sent, read) = tokio::join!(load.stack.producer.send_all(&events), read);
    sent?;
    let (mut position, error) = read?;
    let code = error.downcast_ref::<Closed>().map(|closed| closed.code);
    ensure!(code == Some(1013), "expected close code 1013, got {error:#}");
    while checker.delivered() < EVENTS {
        let mut resumed = connection.clone();
        if let Some(position) = &position {
            resumed = resumed.query("last_event_id", position);
        }
        // It may be closed again, as events are still being sent, but not before it has progressed.
        let mut client = resumed.open().await?;
        let (reached, error) = read_to_end(&mut client, &user, &mut checker).await;
        position = Some(reached.with_context(|| format!("no progress: {error:#}"))?);
    }
    checker.violations().ensure_none()?;
    load.finish().await
}

async fn wait_until_too_slow(stack: &Stack) -> anyhow::Result<()> {
    let dropped = r#"websocket_messages_failed_total{error_type="too_slow"}"#;
    eventually("the client counts as too slow", TIMEOUT, async || {
        ensure!(stack.gateways[0].metric(dropped).await? > 0.0, "no message has failed");
        Ok(())
    })
    .await
}

fn large_events(user: &str) -> anyhow::Result<Vec<Event>> {
    let case = &events::designed()?[0];
    let large = |_| {
        let mut event = case.fresh(user)?;
        event.envelope["data"]["filename"] = "x".repeat(TEXT_SIZE).into();
        Ok(event)
    };
    (0..EVENTS).map(large).collect()
}

/// Reads until every event has been delivered or the connection ends. Returns the last position
/// and why it ended.
async fn read_to_end(
    client: &mut Client,
    user: &str,
    checker: &mut DeliveryChecker,
) -> (Option<String>, anyhow::Error) {
    let mut position = None;
    while checker.delivered() < EVENTS {
        let frame = client.next_notification(TIMEOUT).await;
        let recorded = frame.and_then(|frame| {
            checker.record_delivered(user, &frame)?;
            Ok(frame["id"].as_str().map(str::to_owned))
        });
        match recorded {
            Ok(id) => position = id,
            Err(error) => return (position, error),
        }
    }
    (position, anyhow::anyhow!("every event has been delivered"))
}

/// 73 MiB of history, and five clients that resume it and read later: the gateway holds a page for
/// each and not all of it.
async fn a_large_history_takes_little_memory_while_clients_do_not_read(
    context: &Context,
) -> anyhow::Result<()> {
    const ENTRIES: usize = 256;
    const ENTRY_BYTES: usize = 288 << 10;
    const CLIENTS: usize = 5;
    const MAX_GROWTH: f64 = 64.0;
    let stack = context.own_stack(&Layout { workers: 0, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut redis = stack.redis.connection().await?;
    let text = format!(r#"{{"event":"e","data":"{}"}}"#, "x".repeat(ENTRY_BYTES));
    for number in 1..=ENTRIES {
        let mut xadd = redis::cmd("XADD");
        xadd.arg(stream_key(&user)).arg(format!("{number}-0")).arg("n").arg(&text);
        xadd.exec_async(&mut redis).await?;
    }
    let memory = async || stack.gateways[0].metric("process_resident_memory_bytes").await;
    let before = memory().await?;
    let connection = stack.connection(0, &user)?.query("last_event_id", "1-0");
    let connection = connection.receive_buffer(RECEIVE_BUFFER);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connection.open().await?);
    }
    during_two_redis_probes(&stack.gateways[0], async || {
        let growth = (memory().await? - before) / 1e6;
        ensure!(growth < MAX_GROWTH, "expected growth below {MAX_GROWTH} MB, got {growth:.0} MB");
        Ok(())
    })
    .await?;
    for client in &mut clients {
        let state = client.expect_authenticated(TIMEOUT).await?;
        ensure!(state["resume"] == "complete", "expected a complete resume, got {state}");
        for number in 2..=ENTRIES {
            let frame = client.next_notification(TIMEOUT).await?;
            let id = &frame["id"];
            ensure!(*id == format!("{number}-0"), "expected id {number}-0, got {id}");
        }
    }
    stack.shut_down_and_check_logs().await
}
