//! The command that sends a test notification. It is published by the same code, and with the same
//! settings, as those of the worker: into the history of the user, then to all gateways.

use std::{io::Read as _, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use prometheus::Registry;
use serde_json::{Map, Value};
use shared::{audit, redis::RedisClient, user::UserId};
use tracing::info;
use uuid::Uuid;

use crate::{
    config::Config,
    metrics::Metrics,
    notification::publisher::{
        EventIdentity, OutgoingNotification, PublishOutcome, Publisher as _,
    },
    worker::pipeline,
};

/// The events of frames that gateways send about a connection or a read state.
const CONTROL_EVENTS: [&str; 2] = ["connection_state", "read_state"];

/// What to send, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Send {
    /// The recipient
    #[arg(long)]
    user: String,
    /// File with the notification, a JSON object with `event` and `data`; `-`: standard input
    #[arg(long)]
    file: PathBuf,
}

impl Send {
    /// Publishes the notification; prints its `event_id`.
    ///
    /// # Errors
    /// If the file is no notification, or Redis does not take it.
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let user = UserId::new(&self.user)?;
        let event = Uuid::new_v4();
        let text =
            notification(&self.read()?, &user, event, config.settings.max_notification_size)?;
        let identity = EventIdentity::EventId { id: event, type_hash: 0 };
        let outgoing = OutgoingNotification { user, identity, text, history_only: None };
        let redis = RedisClient::new(&config.settings.redis).context("REDIS_URL")?;
        let store = pipeline::store(config, redis, Metrics::new(&Registry::new()));
        let published = store.publish(&[outgoing], &[]).await?;
        match published.outcomes.into_iter().next() {
            Some(PublishOutcome::Published) => {}
            Some(PublishOutcome::Refused(error)) => bail!("{error}"),
            Some(PublishOutcome::Invalid(rule)) => bail!("{rule}"),
            outcome => bail!("unexpected outcome {outcome:?} of a new event"),
        }
        info!(
            target: audit::TARGET,
            by = audit::caller(),
            user.id = self.user,
            event.id = %event,
            "test notification sent by operator"
        );
        println!("sent to {}: event_id {event}", self.user);
        Ok(())
    }

    fn read(&self) -> anyhow::Result<String> {
        if self.file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).context("standard input")?;
            return Ok(text);
        }
        std::fs::read_to_string(&self.file).with_context(|| self.file.display().to_string())
    }
}

/// Returns the text to publish: that of the file, with the recipient and a new `event_id`.
fn notification(text: &str, user: &UserId, event: Uuid, max_size: usize) -> anyhow::Result<String> {
    let mut notification: Map<String, Value> =
        serde_json::from_str(text).context("the file is no JSON object")?;
    let event_name = notification.get("event").and_then(Value::as_str);
    let event_name = event_name.context("`event` is not a text")?;
    let is_control = CONTROL_EVENTS.contains(&event_name);
    ensure!(!is_control, "`event` is not {event_name}: it is reserved for gateways");
    ensure!(notification.get("data").is_some_and(Value::is_object), "`data` is not an object");
    // Publishing assigns it.
    notification.remove("id");
    notification.insert("user_id".into(), user.as_str().into());
    notification.insert("event_id".into(), event.to_string().into());
    let text = Value::from(notification).to_string();
    ensure!(text.len() <= max_size, "longer than MAX_NOTIFICATION_SIZE ({max_size} bytes)");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_gets_its_recipient_and_a_new_event_id_and_no_position() {
        let user = UserId::new("u").unwrap();
        let make = |text: &str| notification(text, &user, Uuid::nil(), 200);
        let text = make(r#"{"id":"1-0","event":"e","data":{},"user_id":"other"}"#).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["user_id"], &read["event"]), (&"u".into(), &"e".into()));
        assert_eq!(
            (&read["event_id"], &read["id"]),
            (&Uuid::nil().to_string().into(), &Value::Null)
        );
        for bad in ["[]", "{}", r#"{"event":"e"}"#, r#"{"event":1,"data":{}}"#] {
            assert!(make(bad).is_err(), "{bad}");
        }
        for control in CONTROL_EVENTS {
            let error = make(&format!(r#"{{"event":"{control}","data":{{}}}}"#)).unwrap_err();
            assert!(error.to_string().contains(control), "{error}");
        }
        let long = format!(r#"{{"event":"e","data":{{"text":"{}"}}}}"#, "x".repeat(200));
        assert!(make(&long).is_err());
    }
}
