//! Requests of operators, over one channel that all gateways subscribe to. Each gateway answers
//! on a channel of the request. Nothing is stored, and a gateway that may not subscribe serves its
//! clients all the same.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use redis::{ErrorKind, FromRedisValue as _, PushInfo, PushKind, RedisResult, cmd};
use shared::{
    audit,
    keys::Keys,
    redis::{Channel, RedisClient},
    user::UserId,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    positions::RedisClock,
    reply::{UserReply, text},
    stream_reader::StreamReader,
};
use crate::{
    hub::Hub,
    metrics::Metrics,
    protocol::{GatewayAnswer, OperatorAction, OperatorRequest},
};

/// The maximum number of requests that wait for an answer.
pub(super) const MAX_QUEUED_REQUESTS: usize = 16;

/// How long an operator waits for the gateways.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_500);

/// What a gateway answers from.
#[derive(Debug)]
pub(super) struct Gateway<'a> {
    pub(super) name: &'a str,
    pub(super) hub: &'a Hub,
    pub(super) metrics: &'a Metrics,
    pub(super) keys: &'a Keys,
    pub(super) clock: &'a RedisClock,
}

/// The answers to a request.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Those that arrived in time.
    pub(crate) gateways: Vec<GatewayAnswer>,
    /// The number of gateways that are known to have received the request.
    pub(crate) asked: usize,
}

impl Gateway<'_> {
    /// Answers requests with the connections of the present session.
    pub(super) async fn answer(
        &self,
        mut requests: mpsc::Receiver<OperatorRequest>,
        readers: watch::Receiver<Option<StreamReader>>,
    ) {
        while let Some(request) = requests.recv().await {
            if self.has_expired(&request, SystemTime::now()) {
                info!(request = %request.id, by = request.by, "expired operator request ignored");
                continue;
            }
            let Some(answer) = self.act(&request) else {
                self.metrics.malformed_frames.inc();
                continue;
            };
            let Some(reader) = readers.borrow().clone() else { continue };
            let channel = self.keys.answer_channel(request.id);
            if let Err(error) = reader.publish(channel, answer.to_text()).await {
                warn!(%error, "publishing the answer to an operator failed");
            }
        }
    }

    fn has_expired(&self, request: &OperatorRequest, now: SystemTime) -> bool {
        self.clock.unix_ms(now) > request.expires_ms
    }

    /// Does what is asked. Returns none if the request names no valid user.
    fn act(
        &self,
        OperatorRequest { id, by, action, .. }: &OperatorRequest,
    ) -> Option<GatewayAnswer> {
        let connections = match action {
            OperatorAction::Connections { user, limit } => {
                let user = user.as_deref().map(UserId::new).transpose().ok()?;
                self.hub.describe(user.as_ref(), *limit)
            }
            OperatorAction::Disconnect { user } => {
                let user = UserId::new(user).ok()?;
                let closed = self.hub.disconnect(&user);
                let count = closed.len();
                info!(
                    target: audit::TARGET,
                    request = %id,
                    by,
                    user.id = %user,
                    count,
                    "connections closed by operator"
                );
                closed
            }
        };
        let total = self.metrics.open_connections();
        Some(GatewayAnswer { gateway: self.name.to_owned(), total, connections })
    }
}

/// Returns the channels of requests and of the numbers of connections. A gateway serves its clients
/// without them.
pub(super) fn channels(keys: &Keys) -> [Channel; 2] {
    [keys.request_channel(), keys.count_channel()].map(channel)
}

/// Logs which of the [`channels`] Redis refuses.
pub(super) fn log_refused(channels: &[Channel; 2], replies: &[UserReply<()>]) {
    let effects = ["operators are not answered", "connections are not rebalanced"];
    for ((channel, reply), effect) in channels.iter().zip(replies).zip(effects) {
        if let Err(kind) = reply {
            warn!(redis.channel = channel.name, ?kind, effect, "Redis refuses a channel");
        }
    }
}

/// Returns a channel whose name decides on the server.
pub(super) fn channel(name: String) -> Channel {
    Channel { slot_key: name.clone(), name }
}

/// Asks all gateways that are connected to Redis.
///
/// # Errors
/// If Redis does not reply.
pub(crate) async fn ask(
    redis: &RedisClient,
    by: String,
    action: OperatorAction,
) -> RedisResult<Answers> {
    let (sender, mut answers) = mpsc::unbounded_channel();
    let handler = move |push: PushInfo| -> Result<(), Infallible> {
        if push.kind == PushKind::Message
            && let Some(answer) = push.data.get(1).and_then(text).and_then(GatewayAnswer::parse)
        {
            // The command has ended if there is no receiver.
            sender.send(answer).ok();
        }
        Ok(())
    };
    let (mut pubsub, connection) = redis.connect_with_pubsub(handler).await?;
    let id = Uuid::new_v4();
    pubsub.subscribe(vec![channel(redis.keys.answer_channel(id))]).await?;
    let clock = RedisClock::default();
    clock.update(&connection).await?;
    let (now, deadline) = (SystemTime::now(), Instant::now() + ANSWER_TIMEOUT);
    let expires_ms = clock.unix_ms(now + ANSWER_TIMEOUT);
    let request = OperatorRequest { id, by, expires_ms, action };
    let mut publish = cmd("PUBLISH");
    publish.arg(redis.keys.request_channel()).arg(request.to_text());
    let subscribers = usize::from_redis_value(connection.run_one(publish).await?)
        .map_err(|_| (ErrorKind::Parse, "PUBLISH replied with no number"))?;
    let mut gateways = Vec::with_capacity(subscribers);
    // A node of a cluster does not count the gateways that are subscribed at another.
    while (gateways.len() < subscribers || redis.is_cluster())
        && let Ok(Some(answer)) = timeout_at(deadline, answers.recv()).await
    {
        gateways.push(answer);
    }
    gateways.sort_by(|a, b| a.gateway.cmp(&b.gateway));
    Ok(Answers { asked: subscribers.max(gateways.len()), gateways })
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::hub::Limits;

    #[test]
    fn a_gateway_answers_with_its_name_and_neither_to_an_invalid_user_nor_too_late() {
        let metrics = Metrics::new(&Registry::new());
        let hub = Hub::new(Limits::SMALL, metrics.clone());
        metrics.active_connections.set(7);
        let keys = Keys::new("ws");
        let (clock, name) = (RedisClock::default(), "pod-1:8080");
        let gateway = Gateway { name, hub: &hub, metrics: &metrics, keys: &keys, clock: &clock };
        let ask = |action| {
            let (id, by, expires_ms) = (Uuid::nil(), "me".into(), i64::MAX);
            gateway.act(&OperatorRequest { id, by, expires_ms, action })
        };
        let answer = ask(OperatorAction::Connections { user: None, limit: 5 }).unwrap();
        assert_eq!((&*answer.gateway, answer.total), ("pod-1:8080", 7));
        assert!(ask(OperatorAction::Disconnect { user: String::new() }).is_none());
        let invalid = Some("\n".to_owned());
        assert!(ask(OperatorAction::Connections { user: invalid, limit: 5 }).is_none());

        let (now, by) = (SystemTime::now(), "me".to_owned());
        let action = OperatorAction::Connections { user: None, limit: 5 };
        let expires_ms = clock.unix_ms(now + ANSWER_TIMEOUT);
        let request = OperatorRequest { id: Uuid::nil(), by, expires_ms, action };
        assert!(!gateway.has_expired(&request, now));
        assert!(gateway.has_expired(&request, now + ANSWER_TIMEOUT + Duration::from_millis(1)));
    }
}
