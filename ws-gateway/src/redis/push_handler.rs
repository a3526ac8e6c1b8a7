//! Handles what Redis pushes, in the task of the connection that received it.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use redis::{PushInfo, PushKind, Value};
use shared::keys::Keys;
use tokio::sync::Notify;
use tracing::warn;

use super::revocations::PushHandler;
use crate::protocol::Frame;

/// Hands on frames and revocations; tells `lost` when a connection is gone.
pub(super) fn receiver(
    keys: Keys,
    handler: PushHandler,
    lost: Arc<Notify>,
) -> impl Fn(PushInfo) -> Result<(), Infallible> + Clone + Send + Sync + 'static {
    let revocations = keys.revocation_channel();
    move |push| {
        match push.kind {
            PushKind::Message => {
                if take(push.data, &keys, &revocations, &handler).is_none() {
                    handler.metrics.malformed_frames.inc();
                }
            }
            PushKind::Disconnection => lost.notify_one(),
            PushKind::Subscribe | PushKind::Unsubscribe => {}
            kind => warn!(?kind, "unexpected push from Redis"),
        }
        Ok(())
    }
}

fn take(data: Vec<Value>, keys: &Keys, revocations: &str, handler: &PushHandler) -> Option<()> {
    let [Value::BulkString(channel), Value::BulkString(text)] =
        <[Value; 2]>::try_from(data).ok()?
    else {
        return None;
    };
    let (channel, text) = (std::str::from_utf8(&channel).ok()?, String::from_utf8(text).ok()?);
    match keys.user_of(channel) {
        Some(user) => {
            let mut frame = Frame::published(text.into());
            if let Some(position) = frame.position {
                let now = SystemTime::now();
                handler.metrics.pubsub.observe(position.age(now));
                if handler.traces {
                    frame.read_trace_context(now);
                }
            }
            handler.hub.deliver(user, frame);
        }
        None if channel == revocations => handler.hear(&text),
        None => return None,
    }
    Some(())
}
