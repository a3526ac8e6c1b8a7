//! What scenarios expect of a client, said once.

use std::time::Duration;

use anyhow::{bail, ensure};
use harness::{
    client::{Client, Closed},
    events::Event,
    eventually,
    redis::Store,
    stack::{LIMIT, Stack},
};
use serde_json::{Value, json};

/// Longest wait for events to be published, with a fault and all its time-outs on the way.
const PUBLISHED_LIMIT: Duration = Duration::from_mins(1);

/// Reads as many notifications as there are events, in any order, and checks that each is what
/// its fixture says.
pub(crate) async fn exactly(client: &mut Client, events: &[Event]) -> anyhow::Result<()> {
    let mut expected: Vec<&Event> = events.iter().collect();
    while !expected.is_empty() {
        let mut frame = client.notification(LIMIT).await?;
        let id = frame.as_object_mut().and_then(|fields| fields.remove("id"));
        ensure!(id.as_ref().is_some_and(Value::is_string), "a frame without a position: {frame}");
        let Some(at) = expected.iter().position(|event| frame["event_id"] == *event.id) else {
            bail!("not expected, or not again: {frame}");
        };
        let event = expected.swap_remove(at);
        ensure!(frame == event.notification, "got {frame}, not {}", event.notification);
    }
    Ok(())
}

/// Checks that nothing else has arrived at any of a user's clients: what is published now is the
/// next frame of each.
pub(crate) async fn nothing_else(
    stack: &Stack<impl Store>,
    user: &str,
    clients: &mut [Client],
) -> anyhow::Result<()> {
    let marker = json!({"event": "marker", "data": {"of": uuid::Uuid::new_v4().to_string()}});
    stack.publish(user, &marker.to_string()).await?;
    for client in clients {
        let frame = client.notification(LIMIT).await?;
        ensure!(frame == marker, "something else arrived: {frame}");
    }
    Ok(())
}

/// Checks that the server closes the connection with this code.
pub(crate) async fn closed(client: &mut Client, code: u16) -> anyhow::Result<Closed> {
    let closed = client.closed(LIMIT).await?;
    ensure!(closed.code == code, "closed with {closed:?} instead of {code}");
    Ok(closed)
}

/// Checks that the server closes the connection with this code and a reason in JSON with this
/// `error_code`.
pub(crate) async fn refused(client: &mut Client, code: u16, error: &str) -> anyhow::Result<()> {
    let closed = closed(client, code).await?;
    ensure!(closed.reason.len() <= 123, "the reason is too long: {}", closed.reason);
    let reason: Value = serde_json::from_str(&closed.reason)?;
    ensure!(reason["error_code"] == error, "the reason is {reason}");
    ensure!(reason["message"].is_string(), "the reason is {reason}");
    Ok(())
}

/// Waits until a user's stream has so many entries.
pub(crate) async fn published(
    stack: &Stack<impl Store>,
    user: &str,
    entries: usize,
) -> anyhow::Result<Vec<(String, String)>> {
    eventually("the events are published", PUBLISHED_LIMIT, async || {
        let stream = stack.stream(user).await?;
        ensure!(stream.len() >= entries, "{} of {entries} are", stream.len());
        Ok(stream)
    })
    .await
}
