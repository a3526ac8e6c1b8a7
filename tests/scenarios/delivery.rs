//! Every event reaches every socket of its user, and nobody else.

use std::fmt::Write as _;

use anyhow::ensure;
use harness::{
    events::{self, fresh_user},
    eventually, http,
    producer::Record,
    stack::TIMEOUT,
};
use serde_json::{Value, json};

use crate::{
    assertions::{expect_no_further_frames, expect_notifications, wait_for_published},
    context::Context,
    runner::scenarios,
};

scenarios![
    each_event_reaches_every_socket_of_its_user_on_every_gateway,
    events_reach_nobody_but_their_user,
    the_workers_of_a_group_share_the_partitions,
    frames_of_other_publishers_pass_unchanged,
    a_user_id_of_odd_characters_is_served_like_any_other,
    escaped_text_arrives_as_the_text_it_stands_for,
    a_filter_leaves_only_its_categories,
    both_services_tell_their_health_and_what_they_did,
    the_public_port_tells_the_health_of_the_gateway,
];

async fn each_event_reaches_every_socket_of_its_user_on_every_gateway(
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

async fn events_reach_nobody_but_their_user(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let mut rooms = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..8 {
        let user = fresh_user();
        rooms.push((stack.client(&user).await?, events::one_of_each(&user)?, user));
    }
    // Interleaved, so that the events of all users share batches.
    for number in 0..events::DESIGNED {
        sent.extend(rooms.iter().map(|(_, events, _)| events[number].clone()));
    }
    stack.producer.send_all(&sent).await?;
    for (client, events, user) in &mut rooms {
        expect_notifications(client, events).await?;
        expect_no_further_frames(stack, user, std::slice::from_mut(client)).await?;
    }
    Ok(())
}

async fn the_workers_of_a_group_share_the_partitions(context: &Context) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    eventually("each worker has partitions", TIMEOUT, async || {
        for worker in &stack.workers {
            let page = worker.metrics().await?;
            let partitions = http::metric(&page, "ingest_worker_assigned_partitions");
            ensure!(partitions > Some(0.0), "one has {partitions:?}");
        }
        Ok(())
    })
    .await
}

async fn frames_of_other_publishers_pass_unchanged(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    for foreign in [
        json!({"event": "essay_graded", "data": {"essay_id": "e", "nested": [1, null, {"å": "😀"}]}}),
        json!({"event": "connection", "data": {}}),
        json!({"data": {"no": "event"}}),
    ] {
        let receivers = stack.publish(&user, &foreign.to_string()).await?;
        ensure!(receivers == 1, "one user has {receivers} subscriptions of one gateway");
        let frame = client.next_notification(TIMEOUT).await?;
        ensure!(frame == foreign, "{foreign} became {frame}");
    }
    Ok(())
}

async fn a_user_id_of_odd_characters_is_served_like_any_other(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    for odd in ["*", "a:b}c{d", "ws:", "[Åsa] 😀", "?", "'\"\\"] {
        let user = format!("{odd}{}", fresh_user());
        let mut clients = [stack.client(&user).await?];
        let events = events::one_of_each(&user)?;
        stack.producer.send_all(&events[..3]).await?;
        expect_notifications(&mut clients[0], &events[..3]).await?;
        expect_no_further_frames(stack, &user, &mut clients).await?;
    }
    Ok(())
}

async fn escaped_text_arrives_as_the_text_it_stands_for(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut event = events::designed()?[0].fresh(&user)?;
    event.envelope["data"]["filename"] = "Åsa 😀 </script>".into();
    let escaped = ascii_only(&event.envelope);
    let (topic, key) = (&*event.topic, Some(&*event.key));
    let record = Record { topic, key, value: Some(escaped.as_bytes()), ..Record::default() };
    stack.producer.send_record(record).await?;
    let frame = client.next_notification(TIMEOUT).await?;
    ensure!(frame["data"]["filename"] == "Åsa 😀 </script>", "{frame}");
    Ok(())
}

/// JSON as Python's `json.dumps` writes it: all but ASCII as `\uXXXX`.
fn ascii_only(value: &Value) -> String {
    let mut escaped = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(escaped, "\\u{unit:04x}").expect("a String takes all");
            }
        }
    }
    escaped
}

async fn a_filter_leaves_only_its_categories(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let connection = stack.connection(0, &user)?.query("categories", "file_operations,unheard_of");
    let mut client = connection.open().await?;
    client.expect_authenticated(TIMEOUT).await?;
    let of = |category: &str| -> anyhow::Result<_> {
        let mut events = events::one_of_each(&user)?;
        events.retain(|event| event.notification["category"] == category);
        Ok(events)
    };
    let unwanted = of("system_alerts")?;
    stack.producer.send_all(&unwanted).await?;
    let files = of("file_operations")?;
    stack.producer.send_all(&files).await?;
    expect_notifications(&mut client, &files).await?;

    wait_for_published(stack, &user, unwanted.len() + files.len()).await?;
    client.send_json(&json!({"type": "filter", "categories": ["system_alerts"]})).await?;
    // What was sent before the answer was sent under the old filter.
    client.send_json(&json!({"type": "ping"})).await?;
    while client.next_frame(TIMEOUT).await?["type"] != "pong" {}
    stack.producer.send_all(&of("file_operations")?).await?;
    let alerts = of("system_alerts")?;
    stack.producer.send_all(&alerts).await?;
    expect_notifications(&mut client, &alerts).await
}

async fn both_services_tell_their_health_and_what_they_did(
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
            ensure!(status == 200, "{path}: {status} {body}");
        }
        let page = service.metrics().await?;
        ensure!(!page.contains(&user), "a user is named in the metrics");
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
    ensure!(sent >= 17.0, "{sent} messages sent");
    Ok(())
}

async fn the_public_port_tells_the_health_of_the_gateway(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let _client = stack.client(&user).await?;
    let get = async |path| -> anyhow::Result<Value> {
        let (status, body) = http::get(stack.gateways[0].address(), path).await?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    };
    let health = get("/healthz").await?;
    ensure!(health["status"] == "healthy", "{health}");
    for field in ["service", "environment", "timestamp", "uptime_seconds"] {
        ensure!(!health[field].is_null(), "no {field} in {health}");
    }
    get("/healthz/redis").await?;
    let sockets = get("/healthz/websocket").await?;
    ensure!(sockets["total_connections"].as_u64() >= Some(1), "{sockets}");
    ensure!(sockets["max_connections_per_user"] == 5, "{sockets}");
    for path in ["/metrics", "/readyz", "/nothing"] {
        let (status, _) = http::get(stack.gateways[0].address(), path).await?;
        ensure!(status == 404, "{path} on the public port: {status}");
    }
    Ok(())
}
