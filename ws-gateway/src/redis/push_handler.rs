//! Handles pushes from Redis, in the task of the connection that received them.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use redis::{PushInfo, PushKind, Value};
use shared::keys::Keys;
use tokio::sync::Notify;
use tracing::warn;

use super::{positions::RedisClock, revocations::RevocationList};
use crate::{hub::Hub, metrics::Metrics, protocol::Frame};

/// Passes frames to the hub and revocations to their list.
#[derive(Clone, Debug)]
pub(super) struct PushHandler {
    pub(super) keys: Keys,
    pub(super) hub: Hub,
    pub(super) metrics: Metrics,
    pub(super) revocations: RevocationList,
    pub(super) clock: RedisClock,
    /// Whether frames are traced.
    pub(super) traces: bool,
}

impl PushHandler {
    /// Returns the function that handles each push; it notifies `lost` when a connection is lost.
    pub(super) fn receiver(
        self,
        lost: Arc<Notify>,
    ) -> impl Fn(PushInfo) -> Result<(), Infallible> + Clone + Send + Sync + 'static {
        let revocation_channel = self.keys.revocation_channel();
        move |push| {
            match push.kind {
                PushKind::Message => {
                    if self.receive(push.data, &revocation_channel).is_none() {
                        self.metrics.malformed_frames.inc();
                    }
                }
                PushKind::Disconnection => lost.notify_one(),
                PushKind::Subscribe | PushKind::Unsubscribe => {}
                kind => warn!(?kind, "unexpected push from Redis ignored"),
            }
            Ok(())
        }
    }

    /// Returns none if the message is unreadable.
    fn receive(&self, data: Vec<Value>, revocation_channel: &str) -> Option<()> {
        let [Value::BulkString(channel), Value::BulkString(text)] =
            <[Value; 2]>::try_from(data).ok()?
        else {
            return None;
        };
        let (channel, text) = (std::str::from_utf8(&channel).ok()?, String::from_utf8(text).ok()?);
        match self.keys.user_of(channel) {
            Some(user) => self.deliver(user, Frame::published(text.into())),
            None if channel == revocation_channel => {
                self.revocations.receive(&text);
                Some(())
            }
            None => None,
        }
    }

    fn deliver(&self, user: &str, mut frame: Frame) -> Option<()> {
        if let Some(position) = frame.position {
            let now = SystemTime::now();
            if !self.clock.has_reached(position, now) {
                return None;
            }
            self.metrics.pubsub.observe(position.age(now));
            if self.traces {
                frame.read_trace_context(now);
            }
        }
        self.hub.deliver(user, frame);
        Some(())
    }
}
