//! Classifies one record: envelope, route, payload, and from these a notification without a
//! recipient, or the outcome if there is nothing to publish. Pure: no I/O and no clock.

use std::time::Duration;

use shared::{
    envelope::{self, Envelope, EnvelopeError},
    events::CommonFields,
    notification::Notification,
    time::{self, Timestamp},
    user::UserId,
};
use tracing::info;
use uuid::Uuid;

use super::{
    idempotency::IdentityRule,
    logging::{EventSource, LogOnce, traceparent, truncate_for_log},
    panics,
    recipients::{OwnedEntity, RecipientHints},
    record::{DeadLetterReason, IgnoreReason, Outcome, Record, Rejection, Restore},
    routes::{Route, RoutedType, Routes},
};
use crate::notification::publisher::EventIdentity;

/// Largest value of a record that is parsed, in bytes; producers send at most this. The brokers
/// limit only the compressed size, and other records wait while one is parsed.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Decides what each record is.
#[derive(Debug)]
pub struct Classifier {
    routes: Routes,
    identity: IdentityRule,
    max_age: Option<Duration>,
    /// Most bytes of a notification's text.
    max_size: usize,
    max_reread_age: Option<Duration>,
    max_restored_age: Duration,
    reads_traceparent: bool,
    logged_types: LogOnce,
}

/// What a record is and what to do with it.
#[derive(Debug)]
pub struct Classification {
    /// The route's event type; label of its metrics.
    pub(crate) event_type: RoutedType,
    /// The event's origin, for logs and traces.
    pub(crate) source: EventSource,
    /// The next step.
    pub(crate) action: Action,
}

/// The next step for a record.
#[derive(Debug)]
pub(crate) enum Action {
    /// Resolve the recipient, then publish.
    Notify(Box<PendingNotification>),
    /// Nothing: the outcome is known.
    Finish(Outcome),
}

/// A notification whose recipient is not resolved yet.
#[derive(Debug)]
pub(crate) struct PendingNotification {
    pub(super) recipient: RecipientHints,
    pub(super) identity: EventIdentity,
    /// Or why there is none: the event is processed only for the owner that it states.
    pub(super) notification: Result<Notification, IgnoreReason>,
    pub(super) wait_expired: bool,
    pub(super) restore: Option<Restore>,
    /// Its number in the order of reading; the highest for a record that was never parked.
    pub(super) order: u64,
}

impl Classifier {
    /// A classifier that ignores records older than `max_age`.
    #[must_use]
    pub fn new(routes: Routes, identity: IdentityRule, max_age: Option<Duration>) -> Self {
        Self {
            routes,
            identity,
            max_age,
            max_size: usize::MAX,
            max_reread_age: None,
            max_restored_age: Duration::ZERO,
            reads_traceparent: false,
            logged_types: LogOnce::default(),
        }
    }

    /// Cuts the lists of notifications of more than `max_size` bytes.
    #[must_use]
    pub(crate) fn with_max_size(self, max_size: usize) -> Self {
        Self { max_size, ..self }
    }

    /// Ignores records older than `max_age` that a reset makes the worker read again: the claims
    /// that would recognise them as duplicates have expired. What Redis has lost is no such record:
    /// the watermark shows that it has no claim either.
    #[must_use]
    pub(crate) fn with_max_reread_age(self, max_age: Duration) -> Self {
        Self { max_reread_age: Some(max_age), ..self }
    }

    /// Restores what Redis has lost up to this age, also if it is too old by now: it was published
    /// in time.
    #[must_use]
    pub(crate) fn with_max_restored_age(self, max_age: Duration) -> Self {
        Self { max_restored_age: max_age, ..self }
    }

    /// Reads the trace context of each event, if `enabled`.
    #[must_use]
    pub(crate) fn with_traceparent(self, enabled: bool) -> Self {
        Self { reads_traceparent: enabled, ..self }
    }

    /// Classifies the record that `record` returns. A panic is a dead letter.
    pub(crate) fn classify_caught<'a>(
        &self,
        record: impl FnOnce() -> Record<'a>,
        now: Timestamp,
    ) -> Classification {
        let classification = panics::catch("reading", || self.classify(&record(), now));
        classification.unwrap_or_else(|rejection| Classification {
            event_type: RoutedType::UNROUTED,
            source: EventSource::default(),
            action: Action::Finish(Outcome::DeadLetter(rejection)),
        })
    }

    /// Classifies a record; its age is measured at `now`.
    #[must_use]
    pub fn classify(&self, record: &Record<'_>, now: Timestamp) -> Classification {
        let unrouted = |source, outcome| Classification {
            event_type: RoutedType::UNROUTED,
            source,
            action: Action::Finish(outcome),
        };
        let is_too_old = self.is_too_old(record, now);
        let envelope = match decode(record) {
            Ok(envelope) => envelope,
            Err(rejection) => {
                return unrouted(EventSource::default(), dead_letter(rejection, is_too_old));
            }
        };
        let traceparent =
            if self.reads_traceparent { traceparent(record, &envelope) } else { None };
        let source = EventSource::of(&envelope, traceparent);
        let route = match self.routes.find(&envelope.event_type, record.topic) {
            Ok(route) => route,
            Err(reason) => {
                self.log_ignored(&envelope.event_type, reason);
                return unrouted(source, Outcome::Ignored(reason));
            }
        };
        let action = match self.read(route, record, &envelope, now) {
            Ok(mut pending) => {
                if is_too_old {
                    pending.notification = Err(IgnoreReason::TooOld);
                }
                if pending.notification.is_err() && pending.recipient.user.is_none() {
                    // Without a notification nothing depends on an owner.
                    pending.recipient.owned.clear();
                }
                Action::Notify(Box::new(pending))
            }
            Err(rejection) => Action::Finish(dead_letter(rejection, is_too_old)),
        };
        Classification { event_type: route.into(), source, action }
    }

    /// Logs, once per type, that events of it are ignored.
    fn log_ignored(&self, event_type: &str, reason: IgnoreReason) {
        if self.logged_types.first_seen(event_type) {
            let event_type = truncate_for_log(event_type);
            info!(event.type = event_type, reason = reason.label(), "ignoring events of this type");
        }
    }

    fn is_too_old(&self, record: &Record<'_>, now: Timestamp) -> bool {
        let age = record.written_at.map(|at| now.duration_since(at).unsigned_abs());
        let in_the_past = record.written_at.is_some_and(|at| at < now);
        let max_reread_age = self.max_reread_age.filter(|_| record.is_reread);
        let was_finished = record.restore.is_some_and(Restore::was_finished);
        let max_restored_age = if was_finished { self.max_restored_age } else { Duration::ZERO };
        let max_age = self.max_age.map(|max_age| max_age.max(max_restored_age));
        let mut limits = max_age.into_iter().chain(max_reread_age);
        in_the_past && age.is_some_and(|age| limits.any(|max| age > max))
    }

    fn read(
        &self,
        route: &Route,
        record: &Record<'_>,
        envelope: &Envelope<'_>,
        now: Timestamp,
    ) -> Result<PendingNotification, Rejection> {
        let common: CommonFields<'_> =
            serde_json::from_str(envelope.data.get()).map_err(|error| {
                DeadLetterReason::Malformed
                    .with_detail(format!("payload: {}", envelope::describe_json_error(&error)))
            })?;
        let user = common.user_id().map(UserId::new).transpose();
        let user =
            user.map_err(|error| DeadLetterReason::Malformed.with_detail(error.to_string()))?;
        let happened_at = common
            .event_time()
            .and_then(time::parse)
            .or_else(|| time::parse(envelope.event_timestamp.as_deref()?))
            .or(record.written_at)
            .unwrap_or(now);
        let payload = (route.parse)(envelope.data, happened_at)?;
        let event_id = event_id(record.event_id).or_else(|| event_id(envelope.event_id.as_deref()));
        let mut notification = match payload.notification {
            Some(notification) => Ok(notification
                .with_ids(event_id, envelope.correlation_id.as_deref())
                .limited_to(self.max_size)
                .map_err(|error| DeadLetterReason::Malformed.with_detail(error.to_string()))?),
            None => Err(IgnoreReason::ByRule),
        };
        if let (Ok(notification), Some(_)) = (&mut notification, record.restore) {
            notification.set_restored();
        }
        if notification.is_err() {
            self.log_ignored(route.event_type, IgnoreReason::ByRule);
        }
        Ok(PendingNotification {
            recipient: RecipientHints::new(user, payload.batch, payload.class),
            identity: self.identity.identity(envelope, route.event_type, event_id),
            notification,
            wait_expired: record.wait_expired,
            restore: record.restore,
            order: record.order.unwrap_or(u64::MAX),
        })
    }
}

impl Classification {
    /// Sets the trace context that the notification carries.
    pub(crate) fn set_traceparent(&mut self, traceparent: String) {
        if let Action::Notify(pending) = &mut self.action
            && let Ok(notification) = &mut pending.notification
        {
            notification.set_traceparent(traceparent);
        }
    }

    /// Returns the batches and classes whose owner the event states.
    pub(crate) fn stated_entities(&self) -> &[OwnedEntity] {
        let stated = self.pending().filter(|pending| pending.recipient.user.is_some());
        stated.map_or(&[], |pending| &pending.recipient.owned)
    }

    /// Returns the bytes of its notification.
    pub(crate) fn memory(&self) -> usize {
        let notification = self.pending().and_then(|pending| pending.notification.as_ref().ok());
        notification.map_or(0, Notification::memory)
    }

    /// Replaces its notification by an outcome.
    pub(crate) fn with_outcome(self, outcome: Outcome) -> Self {
        Self { action: Action::Finish(outcome), ..self }
    }

    pub(super) fn pending(&self) -> Option<&PendingNotification> {
        match &self.action {
            Action::Notify(pending) => Some(pending),
            Action::Finish(_) => None,
        }
    }
}

/// Returns an event id, unless it is no UUID, or the nil UUID, which a deployed producer sends for
/// every event.
pub(crate) fn event_id(text: Option<&str>) -> Option<Uuid> {
    Uuid::try_parse(text?).ok().filter(|id| !id.is_nil())
}

/// Returns the outcome of a record that cannot be processed; an old one is ignored.
fn dead_letter(rejection: Rejection, is_too_old: bool) -> Outcome {
    if is_too_old { Outcome::Ignored(IgnoreReason::TooOld) } else { Outcome::DeadLetter(rejection) }
}

fn decode<'a>(record: &Record<'a>) -> Result<Envelope<'a>, Rejection> {
    let value = record
        .value
        .ok_or_else(|| DeadLetterReason::NotJson.with_detail("the record has no value"))?;
    if value.len() > MAX_VALUE_BYTES {
        let detail = format!("value of {} bytes, at most {MAX_VALUE_BYTES}", value.len());
        return Err(DeadLetterReason::Malformed.with_detail(detail));
    }
    Envelope::parse(value).map_err(|error| match error {
        EnvelopeError::NotJson(detail) => DeadLetterReason::NotJson.with_detail(detail),
        EnvelopeError::NotAnEnvelope(detail) => DeadLetterReason::NoEnvelope.with_detail(detail),
    })
}
