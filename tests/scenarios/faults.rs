//! What Redis and Kafka do to the services while they run.

pub(crate) mod consumer_group;
pub(crate) mod gateways;
pub(crate) mod kafka;
pub(crate) mod network;
pub(crate) mod random;
pub(crate) mod redis;

use std::time::Duration;

use harness::{
    events::{self, fresh_user},
    http,
    service::Service,
    stack::{Layout, Stack},
};

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

/// Longest wait for a fault to be over, with all time-outs on the way.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);

/// How many users are told while something breaks: few enough events a user for every stream to
/// keep them all.
const USERS: usize = 20;
/// How many events a second they are told of: enough that some are under way at any time.
const PER_SECOND: u32 = 100;

scenarios![
    a_lost_subscription_costs_no_event_and_no_socket,
    flushed_scripts_and_keys_cost_no_later_event,
    a_topic_that_is_created_later_is_picked_up,
];

/// The value of a series that a service exports; nothing counted yet is 0.
async fn counted(service: &Service, series: &str) -> anyhow::Result<f64> {
    Ok(http::metric(&service.metrics().await?, series).unwrap_or_default())
}

/// Prints how long the gateways themselves say that it took to close all gaps, once Redis was
/// back.
async fn report_repairs(what: &str, stack: &Stack) -> anyhow::Result<()> {
    for gateway in &stack.gateways {
        let page = gateway.metrics().await?;
        let value = |name: &str| http::metric(&page, name).unwrap_or_default();
        let repairs = value("gateway_gap_repair_seconds_count");
        let mean = value("gateway_gap_repair_seconds_sum") / repairs.max(1.0) * 1e3;
        let within_1s = value(r#"gateway_gap_repair_seconds_bucket{le="1"}"#);
        let messages = value("gateway_messages_repaired_total");
        eprintln!(
            "{what}: {repairs} repairs, {mean:.0} ms on average, {within_1s} within 1 s, \
             {messages} notifications read from streams"
        );
    }
    Ok(())
}

async fn a_lost_subscription_costs_no_event_and_no_socket(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let mut clients = [stack.client(&user).await?, stack.client(&user).await?];
    let mut redis = stack.redis.connection().await?;
    let mut sent = Vec::new();
    for _ in 0..5 {
        let events = events::one_of_each(&user)?;
        stack.producer.send_all(&events).await?;
        let mut kill = ::redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("pubsub").exec_async(&mut redis).await?;
        sent.extend(events);
    }
    for client in &mut clients {
        expect_notifications(client, &sent).await?;
    }
    stack.wait_for_subscriptions(&user, 1).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.shut_down_and_check_logs().await
}

async fn flushed_scripts_and_keys_cost_no_later_event(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let mut redis = stack.redis.connection().await?;
    for flush in [["SCRIPT", "FLUSH"], ["FLUSHALL", "SYNC"]] {
        ::redis::cmd(flush[0]).arg(flush[1]).exec_async(&mut redis).await?;
        let events = events::one_of_each(&user)?;
        stack.producer.send_all(&events).await?;
        expect_notifications(&mut clients[0], &events).await?;
    }
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.shut_down_and_check_logs().await
}

async fn a_topic_that_is_created_later_is_picked_up(context: &Context) -> anyhow::Result<()> {
    let topic = format!("renamed-{}", uuid::Uuid::new_v4().simple());
    let worker_settings = vec![
        ("BATCH_FILE_REMOVED_TOPIC", topic.clone()),
        ("KAFKA_PROPERTY_TOPIC_METADATA_REFRESH_INTERVAL_MS", "500".to_owned()),
    ];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    stack.kafka.create_topics(std::slice::from_ref(&topic)).await?;
    let mut event = events::designed()?[1].fresh(&user)?;
    event.topic = topic;
    stack.producer.send(&event).await?;
    expect_notifications(&mut client, &[event]).await?;
    drop(client);
    stack.shut_down_and_check_logs().await
}
