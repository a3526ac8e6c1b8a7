//! Every event reaches every socket of its user and no other user, and both services report what
//! they did.

use anyhow::ensure;
use harness::{
    events::{self, Case, fresh_user},
    eventually, http,
    producer::Record,
    stack::{Layout, Stack, TIMEOUT},
};
use serde_json::{Value, json};

use crate::{
    assertions::{expect_no_further_frames, expect_notifications, wait_for_published},
    context::Context,
    runner::scenarios,
};

scenarios![
    every_event_reaches_every_socket_of_its_user_on_every_gateway,
    events_reach_only_their_user,
    frames_of_other_publishers_are_forwarded_unchanged,
    escaped_json_is_delivered_as_the_text_that_it_encodes,
    a_category_filter_applies_from_the_handshake_and_can_be_changed,
    low_priority_frames_wait_for_the_next_frame_of_another_priority,
    both_services_report_health_and_metrics_without_user_ids,
];

async fn every_event_reaches_every_socket_of_its_user_on_every_gateway(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = Vec::new();
    for gateway in [0, 0, 1] {
        clients.push(stack.client_at(gateway, &user).await?);
    }
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    for client in &mut clients {
        expect_notifications(client, &events).await?;
    }
    expect_no_further_frames(stack, &user, &mut clients).await
}

async fn events_reach_only_their_user(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let mut receivers = Vec::new();
    for user in [(); 8].map(|()| fresh_user()) {
        receivers.push(([stack.client(&user).await?], events::one_of_each(&user)?, user));
    }
    // Interleaved, so that events of all users share batches.
    let nth = |number| receivers.iter().map(move |(_, events, _)| &events[number]);
    let interleaved: Vec<_> = (0..events::DESIGNED).flat_map(nth).cloned().collect();
    stack.producer.send_all(&interleaved).await?;
    for (clients, events, user) in &mut receivers {
        expect_notifications(&mut clients[0], events).await?;
        expect_no_further_frames(stack, user, clients).await?;
    }
    Ok(())
}

async fn frames_of_other_publishers_are_forwarded_unchanged(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    for frame in [
        json!({"event": "essay_graded", "data": {"nested": [1, null, {"å": "😀"}]}}),
        json!({"event": "connection", "data": {}}),
        json!({"data": {"no": "event"}}),
    ] {
        let receivers = stack.publish(&user, &frame.to_string()).await?;
        ensure!(receivers == 1, "expected one subscription of the gateway, got {receivers}");
        let received = client.next_notification(TIMEOUT).await?;
        ensure!(received == frame, "expected {frame}, got {received}");
    }
    Ok(())
}

async fn escaped_json_is_delivered_as_the_text_that_it_encodes(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut event = events::designed()?[0].fresh(&user)?;
    event.envelope["data"]["filename"] = "FILENAME".into();
    // As Python's `json.dumps` encodes it.
    let value = event.envelope.to_string().replace("FILENAME", r"\u00c5sa \ud83d\ude00 </script>");
    let (topic, key, value) = (&*event.topic, Some(&*event.key), Some(value.as_bytes()));
    stack.producer.send_record(Record { topic, key, value, ..Record::default() }).await?;
    let frame = client.next_notification(TIMEOUT).await?;
    let filename = &frame["data"]["filename"];
    ensure!(filename == "Åsa 😀 </script>", "expected the decoded text, got {filename}");
    Ok(())
}

async fn a_category_filter_applies_from_the_handshake_and_can_be_changed(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let connection = stack.connection(0, &user)?.query("categories", "file_operations,unknown");
    let mut client = connection.open().await?;
    client.expect_authenticated(TIMEOUT).await?;
    let of_category = |category: &str| -> anyhow::Result<_> {
        let mut events = events::one_of_each(&user)?;
        events.retain(|event| event.notification["category"] == category);
        Ok(events)
    };
    let [alerts, files] = [of_category("system_alerts")?, of_category("file_operations")?];
    stack.producer.send_all(&alerts).await?;
    stack.producer.send_all(&files).await?;
    expect_notifications(&mut client, &files).await?;

    wait_for_published(stack, &user, alerts.len() + files.len()).await?;
    client.send_json(&json!({"type": "filter", "categories": ["system_alerts"]})).await?;
    // Every frame before the pong was sent under the old filter.
    client.send_json(&json!({"type": "ping"})).await?;
    while client.next_frame(TIMEOUT).await?["type"] != "pong" {}
    let [alerts, files] = [of_category("system_alerts")?, of_category("file_operations")?];
    stack.producer.send_all(&files).await?;
    stack.producer.send_all(&alerts).await?;
    expect_notifications(&mut client, &alerts).await
}

async fn low_priority_frames_wait_for_the_next_frame_of_another_priority(
    context: &Context,
) -> anyhow::Result<()> {
    // Longer than the scenario, so that only another frame can cause the write.
    let gateway_settings = vec![("LOW_PRIORITY_MAX_DELAY", "1h".to_owned())];
    let stack = context.own_stack(&Layout { gateway_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let (low, others): (Vec<_>, Vec<_>) = events::designed()?.into_iter().partition(Case::may_wait);
    let events = low.iter().map(|case| case.fresh(&user));
    let mut events = events.collect::<anyhow::Result<Vec<_>>>()?;
    stack.producer.send_all(&events).await?;
    wait_for_queued_frames(&stack, events.len()).await?;
    let sent = stack.gateways[0].metric("websocket_messages_sent_total").await?;
    ensure!(sent < 1.5, "expected only the authenticated frame to be sent, got {sent} frames");
    let urgent = others[0].fresh(&user)?;
    stack.producer.send(&urgent).await?;
    events.push(urgent);
    expect_notifications(&mut client, &events).await?;
    stack.shut_down_and_check_logs().await
}

async fn wait_for_queued_frames(stack: &Stack, expected: usize) -> anyhow::Result<()> {
    let queued = r#"gateway_frames_total{outcome="delivered"}"#;
    eventually("the frames are queued", TIMEOUT, async || {
        let queued = stack.gateways[0].metric(queued).await?;
        ensure!(queued >= f64::from(u32::try_from(expected)?), "{queued} of {expected} frames");
        Ok(())
    })
    .await
}

async fn both_services_report_health_and_metrics_without_user_ids(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    for service in stack.workers.iter().chain(&stack.gateways) {
        for path in ["/livez", "/readyz"] {
            let (status, body) = http::get(service.admin(), path).await?;
            ensure!(status == 200, "{path}: expected status 200, got {status} {body}");
        }
        let page = service.metrics().await?;
        ensure!(!page.contains(&user), "{}: a metric names a user", service.name());
    }
    let page = stack.gateways[0].metrics().await?;
    for name in [
        "websocket_connections_total{",
        "websocket_active_connections ",
        "websocket_messages_sent_total ",
        "jwt_validation_total{",
        "websocket_connection_duration_seconds_count",
    ] {
        ensure!(page.contains(&format!("\n{name}")), "no series {name} in {page}");
    }
    let sent = http::metric(&page, "websocket_messages_sent_total").unwrap_or_default();
    ensure!(sent >= 17.0, "expected at least 17 messages, got {sent}");
    expect_public_health(stack).await
}

/// Checks the health pages of the public port, which serves no page of the admin port.
async fn expect_public_health(stack: &Stack) -> anyhow::Result<()> {
    let gateway = stack.gateways[0].address();
    let get = async |path| -> anyhow::Result<Value> {
        let (status, body) = http::get(gateway, path).await?;
        ensure!(status == 200, "{path}: expected status 200, got {status} {body}");
        Ok(serde_json::from_str(&body)?)
    };
    let health = get("/healthz").await?;
    ensure!(health["status"] == "healthy", "expected status healthy, got {health}");
    for field in ["service", "environment", "timestamp", "uptime_seconds"] {
        ensure!(!health[field].is_null(), "no field {field} in {health}");
    }
    get("/healthz/redis").await?;
    let sockets = get("/healthz/websocket").await?;
    let is_open = sockets["total_connections"].as_u64() >= Some(1);
    ensure!(is_open, "expected at least one connection in total_connections, got {sockets}");
    let limit = &sockets["max_connections_per_user"];
    ensure!(limit == 5, "expected max_connections_per_user 5, got {limit}");
    for path in ["/metrics", "/readyz", "/nothing"] {
        let (status, _) = http::get(gateway, path).await?;
        ensure!(status == 404, "{path} on the public port: expected status 404, got {status}");
    }
    Ok(())
}
