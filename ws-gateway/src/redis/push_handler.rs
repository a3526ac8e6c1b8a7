//! Handles pushes from Redis, in the task of the connection that received them.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use redis::{PushInfo, PushKind, Value};
use shared::keys::{FOR_GATEWAYS, HISTORY_CHANGED, Keys};
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use super::{
    balance::GatewayCounts, positions::RedisClock, probe::Probe, revocations::RevocationList,
};
use crate::{
    hub::Hub,
    metrics::Metrics,
    protocol::{Frame, OperatorRequest},
};

/// Passes frames to the hub, revocations to their list, and operators' requests to their queue.
#[derive(Clone, Debug)]
pub(super) struct PushHandler {
    pub(super) keys: Keys,
    pub(super) hub: Hub,
    pub(super) metrics: Metrics,
    pub(super) revocations: RevocationList,
    pub(super) clock: RedisClock,
    pub(super) probe: Probe,
    pub(super) requests: mpsc::Sender<OperatorRequest>,
    pub(super) counts: GatewayCounts,
    /// Whether frames are traced.
    pub(super) traces: bool,
}

impl PushHandler {
    /// Returns the function that handles each push; it notifies `lost` when a connection is lost.
    pub(super) fn receiver(
        self,
        lost: Arc<Notify>,
    ) -> impl Fn(PushInfo) -> Result<(), Infallible> + Clone + Send + Sync + 'static {
        let keys = &self.keys;
        let channels = [
            keys.revocation_channel(),
            keys.probe_channel(),
            keys.request_channel(),
            keys.count_channel(),
        ];
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
    fn receive(&self, data: Vec<Value>, channels: &[String; 4]) -> Option<()> {
        let [Value::BulkString(channel), Value::BulkString(text)] =
            <[Value; 2]>::try_from(data).ok()?
        else {
            return None;
        };
        let channel = std::str::from_utf8(&channel).ok()?;
        if let Some(user) = self.keys.user_of(channel) {
            if text.first() == Some(&FOR_GATEWAYS) {
                return self.receive_for_gateways(user, &text);
            }
            return self.deliver(user, Frame::published(String::from_utf8(text).ok()?.into()));
        }
        let text = String::from_utf8(text).ok()?;
        let [revocations, probes, requests, counts] = channels;
        if channel == revocations {
            self.revocations.receive(&text);
        } else if channel == requests {
            // Operators ask again if there are too many to be queued.
            self.requests.try_send(OperatorRequest::parse(&text)?).ok();
        } else if channel == counts {
            self.counts.receive(&text)?;
        } else if channel.starts_with(probes) {
            self.probe.receive(channel, &text);
        } else {
            return None;
        }
        Some(())
    }

    /// Takes a message that is not a frame of a publisher; none if this version does not know it.
    fn receive_for_gateways(&self, user: &str, message: &[u8]) -> Option<()> {
        if message == HISTORY_CHANGED {
            self.hub.history_changed(user);
            return Some(());
        }
        let frame = Frame::published(std::str::from_utf8(&message[1..]).ok()?.into());
        frame.is_read_state.then(|| self.hub.deliver(user, frame))
    }

    fn deliver(&self, user: &str, mut frame: Frame) -> Option<()> {
        if let Some(position) = frame.position {
            let now = SystemTime::now();
            if !self.clock.has_reached(position, now) {
                // If it is in the stream as well, the connections are sent a gap report.
                self.hub.read_again(user);
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

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use shared::user::UserId;
    use uuid::Uuid;

    use super::*;
    use crate::{
        auth::revocation::Revocations,
        hub::{Limits, Subscribed, outbox::Item, registration::Registration},
    };

    fn message(channel: &[u8], text: &[u8]) -> PushInfo {
        let data = vec![Value::BulkString(channel.into()), Value::BulkString(text.into())];
        PushInfo { kind: PushKind::Message, data }
    }

    /// A handler, and the only connection of its hub.
    fn with_connection() -> (PushHandler, UserId, Registration) {
        let metrics = Metrics::new(&Registry::new());
        let (hub, user) = (Hub::new(Limits::SMALL, metrics.clone()), UserId::new("u").unwrap());
        let registration = hub.register(&user, Uuid::new_v4()).unwrap();
        let plan = hub.plan([user.clone()]);
        assert_eq!(hub.mark_subscribed(&plan.subscribe[0].subscription), Subscribed::Live);
        let handler = PushHandler {
            keys: Keys::new("ws"),
            hub: hub.clone(),
            metrics: metrics.clone(),
            revocations: RevocationList::new(Revocations::default(), hub, metrics),
            clock: RedisClock::default(),
            probe: Probe::new(),
            requests: mpsc::channel(1).0,
            counts: GatewayCounts::default(),
            traces: false,
        };
        (handler, user, registration)
    }

    #[test]
    fn a_read_state_of_a_gateway_is_delivered_without_its_mark_and_a_changed_history_is_counted() {
        let (handler, _, registration) = with_connection();
        let hub = handler.hub.clone();
        registration.outbox().accept_read_state();
        let receive = handler.receiver(Arc::default());
        receive(message(b"ws:u", b"\xff{\"event\":\"read_state\",\"data\":{}}")).unwrap();
        assert_eq!(hub.read_requests().take(9).len(), 0);
        receive(message(b"ws:u", HISTORY_CHANGED)).unwrap();
        assert_eq!(hub.read_requests().take(9).len(), 1);
        let sent = Vec::from(registration.outbox().drain().items);
        let [Item::Frame(frame)] = &sent[..] else { panic!("expected a frame, got {sent:?}") };
        assert_eq!(&*frame.text, r#"{"event":"read_state","data":{}}"#);
    }

    #[test]
    fn an_unreadable_message_or_one_with_a_position_from_the_future_is_counted_and_skipped() {
        let (handler, user, _registration) = with_connection();
        let (hub, metrics) = (handler.hub.clone(), handler.metrics.clone());
        let receive = handler.receiver(Arc::default());
        let future = br#"{"id":"99999999999999-0","event":"e"}"#;
        for push in [
            message(b"ws:u", future),
            message(b"ws:u", b"\xff"),
            message(b"ws:u", b"\xff{\"event\":\"of a later version\"}"),
            message(b"ws:u", b"{\"event\":\"\xff\"}"),
            message(b"\xff", b"{}"),
            message(b"other", b"{}"),
            message(b"ws/gateways", b"{}"),
            message(b"ws/gateways/counts", b"{}"),
            PushInfo { kind: PushKind::Message, data: Vec::new() },
        ] {
            receive(push).unwrap();
        }
        assert_eq!((metrics.malformed_frames.get(), hub.position(&user)), (9, None));
        let plan = hub.plan(hub.take_changed());
        assert!(plan.subscribe[0].was_live, "the stream is not read again");
        assert_eq!(hub.mark_subscribed(&plan.subscribe[0].subscription), Subscribed::Live);
        receive(message(b"ws:u", br#"{"id":"7-0","event":"e"}"#)).unwrap();
        assert_eq!((metrics.malformed_frames.get(), hub.position(&user)), (9, "7-0".parse().ok()));
    }
}
