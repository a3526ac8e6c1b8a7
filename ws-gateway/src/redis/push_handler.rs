//! Handles pushes from Redis, in the task of the connection that received them.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use redis::{PushInfo, PushKind, Value};
use shared::keys::Keys;
use tokio::sync::Notify;
use tracing::warn;

use super::{positions::RedisClock, probe::Probe, revocations::RevocationList};
use crate::{hub::Hub, metrics::Metrics, protocol::Frame};

/// Passes frames to the hub and revocations to their list.
#[derive(Clone, Debug)]
pub(super) struct PushHandler {
    pub(super) keys: Keys,
    pub(super) hub: Hub,
    pub(super) metrics: Metrics,
    pub(super) revocations: RevocationList,
    pub(super) clock: RedisClock,
    pub(super) probe: Probe,
    /// Whether frames are traced.
    pub(super) traces: bool,
}

impl PushHandler {
    /// Returns the function that handles each push; it notifies `lost` when a connection is lost.
    pub(super) fn receiver(
        self,
        lost: Arc<Notify>,
    ) -> impl Fn(PushInfo) -> Result<(), Infallible> + Clone + Send + Sync + 'static {
        let channels = [self.keys.revocation_channel(), self.keys.probe_channel()];
        move |push| {
            match push.kind {
                PushKind::Message => {
                    if self.receive(push.data, &channels).is_none() {
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
    fn receive(&self, data: Vec<Value>, channels: &[String; 2]) -> Option<()> {
        let [Value::BulkString(channel), Value::BulkString(text)] =
            <[Value; 2]>::try_from(data).ok()?
        else {
            return None;
        };
        let (channel, text) = (std::str::from_utf8(&channel).ok()?, String::from_utf8(text).ok()?);
        if let Some(user) = self.keys.user_of(channel) {
            return self.deliver(user, Frame::published(text.into()));
        }
        let [revocations, probes] = channels;
        if channel == revocations {
            self.revocations.receive(&text);
        } else if channel.starts_with(probes) {
            self.probe.receive(channel, &text);
        } else {
            return None;
        }
        Some(())
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
