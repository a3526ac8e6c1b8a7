//! What the services tell of themselves: the books of the workers balance, whatever happens, and
//! lateness and lag are there to be seen.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    http::metric,
    producer::Record,
    service::Service,
    stack::{Layout, Stack, TIMEOUT},
};

use crate::{
    assertions::{expect_notifications, wait_for_published},
    context::Context,
    parked_records::nameless,
    runner::scenarios,
};

scenarios![
    the_books_of_the_workers_balance_when_partitions_move,
    it_can_be_seen_how_late_notifications_are,
];

/// Longest wait for a worker that was killed to be missed, and for the lag to be asked for.
const SETTLED_LIMIT: Duration = Duration::from_mins(1);

/// The sum of all series of this name.
fn sum(page: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.starts_with(&format!("{name}{{"));
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
    page.lines().filter(of_name).filter_map(value).sum()
}

/// Waits until a worker has nothing in hand, and checks that it can account for everything it
/// read. Returns how much that was.
async fn balanced(worker: &Service) -> anyhow::Result<f64> {
    eventually("the books of a worker balance", SETTLED_LIMIT, async || {
        let page = worker.metrics().await?;
        let value = |name: &str| metric(&page, name).with_context(|| name.to_owned());
        let consumed = value("ingest_worker_consumed_records_total")?;
        let in_flight = value("ingest_worker_in_flight_records")?;
        let revoked = value("ingest_worker_revoked_records_total")?;
        let outcomes = sum(&page, "ingest_worker_outcomes_total");
        let seen = format!(
            "{consumed} consumed, {outcomes} outcomes, {revoked} revoked, {in_flight} in flight"
        );
        ensure!(consumed - outcomes - revoked - in_flight == 0.0 && in_flight == 0.0, "{seen}");
        Ok(consumed)
    })
    .await
}

/// Events that end in every way: told, told before, by rule not told, and not usable.
async fn send_some_of_each(stack: &Stack, user: &str) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    for _ in 0..20 {
        events.extend(events::one_of_each(user)?);
    }
    stack.producer.send_all(&events).await?;
    stack.producer.send_all(&events[..10]).await?;
    stack.producer.send(&events[0].registration()).await?;
    let bad = Record { topic: &events[0].topic, value: Some(b"no JSON"), ..Record::default() };
    stack.producer.send_record(bad).await?;
    Ok(events)
}

async fn the_books_of_the_workers_balance_when_partitions_move(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
        // Nobody will say whose these are; they are given back or given up.
        ("OWNER_WAIT", "4s".to_owned()),
    ];
    let layout = Layout { workers: 1, gateways: 0, worker_settings, ..Layout::default() };
    // Where nobody else writes: there is a time when nothing is behind.
    let mut stack = context.own_broker(&layout).await?;
    let user = fresh_user();
    let mut events = send_some_of_each(&stack, &user).await?;
    let waiting = nameless(&fresh_user(), 30)?;
    stack.producer.send_all(&waiting).await?;
    stack.start_another_worker().await?;
    events.extend(send_some_of_each(&stack, &user).await?);
    let read = balanced(&stack.workers[0]).await? + balanced(&stack.workers[1]).await?;
    ensure!(read >= 340.0, "only {read} were read");
    stack.workers[0].kill().await?;
    events.extend(send_some_of_each(&stack, &user).await?);
    wait_for_published(&stack, &user, events.len().min(256)).await?;
    eventually("nothing is behind", SETTLED_LIMIT, async || {
        let page = stack.workers[1].metrics().await?;
        ensure!(page.contains("ingest_worker_consumer_lag_records{"), "no lag is told");
        let lag = sum(&page, "ingest_worker_consumer_lag_records");
        ensure!(lag == 0.0, "{lag} are");
        Ok(())
    })
    .await?;
    balanced(&stack.workers[1]).await?;
    stack.check_logs_and_discard()?;
    Ok(())
}

async fn it_can_be_seen_how_late_notifications_are(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let page = stack.gateways[0].metrics().await?;
    ensure!(metric(&page, "websocket_connections{state=\"open\"}") == Some(1.0), "{page}");
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    let sent = f64::from(u32::try_from(events.len())?);
    eventually("every notification is observed", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        for series in ["gateway_delivery_seconds", "gateway_event_age_seconds"] {
            let seen = sum(&page, &format!("{series}_count"));
            ensure!(seen >= sent, "{series}: {seen} of {sent}");
        }
        let received = metric(&page, "gateway_pubsub_seconds_count");
        ensure!(received >= Some(sent), "received: {received:?}");
        ensure!(metric(&page, "gateway_queue_seconds_count") > Some(0.0), "no write is told");
        let page = stack.workers[0].metrics().await?;
        for stage in ["kafka_wait", "processing", "latency"] {
            let seen = metric(&page, &format!("ingest_worker_{stage}_seconds_count"));
            ensure!(seen >= Some(sent), "{stage}: {seen:?} of {sent}");
        }
        let calls = "ingest_worker_redis_round_trip_seconds_count{call=\"publish\"}";
        ensure!(metric(&page, calls) > Some(0.0), "no round trip is told");
        Ok(())
    })
    .await?;
    drop(client);
    stack.shut_down_and_check_logs().await
}
