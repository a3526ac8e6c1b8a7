//! Metrics: the workers account for every record, also across rebalances and crashes, and the
//! latency of each stage is observed.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    http::{metric, metric_sum},
    producer::Record,
    service::Service,
    stack::{Layout, Stack, TIMEOUT},
};

use crate::{
    assertions::{expect_notifications, wait_for_published},
    context::Context,
    parked_records::events_without_user,
    runner::scenarios,
    under_load::RECOVERY_TIMEOUT,
};

scenarios![
    workers_account_for_every_record_across_a_rebalance_and_a_crash,
    the_latency_of_each_stage_is_observed_for_every_notification,
];

/// Longest history of a user: `HISTORY_MAX_LEN`.
const MAX_ENTRIES: usize = 256;

/// Waits until a worker has no record in flight, checks that it accounts for every record that it
/// consumed, and returns how many these are.
async fn wait_for_balance(worker: &Service) -> anyhow::Result<f64> {
    eventually(
        "consumed records equal outcomes and revoked records",
        RECOVERY_TIMEOUT,
        async || {
            let page = worker.metrics().await?;
            let value = |name: &str| metric(&page, name).with_context(|| name.to_owned());
            let consumed = value("ingest_worker_consumed_records_total")?;
            let in_flight = value("ingest_worker_in_flight_records")?;
            let revoked = value("ingest_worker_revoked_records_total")?;
            let outcomes = metric_sum(&page, "ingest_worker_outcomes_total");
            let is_balanced = consumed - outcomes - revoked == 0.0 && in_flight == 0.0;
            let seen = format!("{outcomes} outcomes, {revoked} revoked, {in_flight} in flight");
            ensure!(is_balanced, "{consumed} consumed, {seen}");
            Ok(consumed)
        },
    )
    .await
}

/// Sends records with every outcome: published, duplicate, ignored, dead-lettered.
async fn send_every_outcome(stack: &Stack, user: &str) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    for _ in 0..20 {
        events.extend(events::one_of_each(user)?);
    }
    stack.producer.send_all(&events).await?;
    stack.producer.send_all(&events[..10]).await?;
    stack.producer.send(&events[0].registration()).await?;
    let malformed =
        Record { topic: &events[0].topic, value: Some(b"no JSON"), ..Record::default() };
    stack.producer.send_record(malformed).await?;
    Ok(events)
}

async fn workers_account_for_every_record_across_a_rebalance_and_a_crash(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![
        ("KAFKA_PROPERTY_SESSION_TIMEOUT_MS", "6000".to_owned()),
        // Events without a known owner end as revoked records or as dead letters.
        ("OWNER_WAIT", "4s".to_owned()),
    ];
    let layout = Layout { workers: 1, gateways: 0, worker_settings, ..Layout::default() };
    // On a shared broker the lag would include the records of other scenarios.
    let mut stack = context.own_broker(&layout).await?;
    let user = fresh_user();
    let mut sent = send_every_outcome(&stack, &user).await?.len();
    stack.producer.send_all(&events_without_user(&fresh_user(), 30)?).await?;
    stack.start_another_worker().await?;
    sent += send_every_outcome(&stack, &user).await?.len();
    let consumed =
        wait_for_balance(&stack.workers[0]).await? + wait_for_balance(&stack.workers[1]).await?;
    ensure!(consumed >= 340.0, "expected at least 340 records, got {consumed}");
    stack.workers[0].kill().await?;
    sent += send_every_outcome(&stack, &user).await?.len();
    wait_for_published(&stack, &user, sent.min(MAX_ENTRIES)).await?;
    eventually("the consumer lag is 0", RECOVERY_TIMEOUT, async || {
        let page = stack.workers[1].metrics().await?;
        let lag = "ingest_worker_consumer_lag_records";
        ensure!(page.contains(&format!("{lag}{{")), "no series {lag}");
        let lag = metric_sum(&page, lag);
        ensure!(lag == 0.0, "expected a lag of 0, got {lag}");
        Ok(())
    })
    .await?;
    wait_for_balance(&stack.workers[1]).await?;
    stack.check_logs_and_discard()
}

async fn the_latency_of_each_stage_is_observed_for_every_notification(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout::default()).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let page = stack.gateways[0].metrics().await?;
    let open = metric(&page, "websocket_connections{state=\"open\"}");
    ensure!(open == Some(1.0), "expected one open connection, got {open:?}");
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    let all = f64::from(u32::try_from(events.len())?);
    eventually("every notification is observed", TIMEOUT, async || {
        let page = stack.gateways[0].metrics().await?;
        let delivered = metric_sum(&page, "gateway_delivery_seconds_count");
        ensure!(delivered >= all, "expected at least {all} deliveries, got {delivered}");
        let worker = stack.workers[0].metrics().await?;
        let publish = "ingest_worker_redis_round_trip_seconds_count{call=\"publish\"}";
        for (page, name, expected) in [
            (&page, "gateway_pubsub_seconds_count", all),
            (&page, "gateway_queue_seconds_count", 1.0),
            (&worker, "ingest_worker_kafka_wait_seconds_count", all),
            (&worker, "ingest_worker_processing_seconds_count", all),
            (&worker, "ingest_worker_latency_seconds_count", all),
            (&worker, publish, 1.0),
        ] {
            let observed = metric(page, name);
            ensure!(
                observed >= Some(expected),
                "{name}: expected at least {expected}, got {observed:?}"
            );
        }
        Ok(())
    })
    .await?;
    drop(client);
    stack.shut_down_and_check_logs().await
}
