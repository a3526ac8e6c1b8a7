//! From records to outcomes, in two steps: [`Processor::judge`] decides what a record is and is
//! pure; [`Processor::deliver`] finds who is told and tells them, a whole batch at a time. What
//! cannot be used is an outcome; only the outside world can fail, and then the batch may be
//! delivered again.

use std::time::Duration;

use futures_util::future::join;
use shared::{
    envelope::{self, Envelope, EnvelopeError},
    events::Common,
    notification::Notification,
    time::{self, Timestamp},
    user::UserId,
};
use tracing::info;
use uuid::Uuid;

use super::{
    announced::Announced,
    identity::IdentityRule,
    recipients::{Address, Owned, OwnerDirectory, Owners},
    record::{Ignored, Outcome, Reason, Record, Rejection},
    routes::{Reading, RoutedType, Routes},
    source::{Source, beginning, place_in_trace},
};
use crate::notification::publisher::{Delivery, Identity, NotNow, Publisher, Receipt};

/// Turns records into notifications.
#[derive(Debug)]
pub struct Processor<P, D> {
    routes: Routes,
    identity: IdentityRule,
    max_age: Option<Duration>,
    reads_traces: bool,
    publisher: P,
    directory: D,
    ignored_types: Announced,
}

/// What a record turned out to be.
#[derive(Debug)]
pub struct Verdict {
    /// Its type if it has a route, for metrics.
    pub event_type: RoutedType,
    /// What its envelope says of where it comes from, for logs.
    pub source: Source,
    /// What is to be done.
    pub action: Action,
}

/// What is to be done about a record.
#[derive(Debug)]
pub enum Action {
    /// Somebody may have to be told, once it is known whom.
    Tell(Box<Telling>),
    /// Nothing: the outcome is clear.
    Settle(Outcome),
}

/// A notification before its recipient is known.
#[derive(Debug)]
pub struct Telling {
    address: Address,
    identity: Identity,
    /// `None` for an event that only teaches who owns what.
    notification: Option<Notification>,
    out_of_patience: bool,
}

impl<P: Publisher, D: OwnerDirectory> Processor<P, D> {
    /// A processor that tells through `publisher` and asks `directory` whom. Records older than
    /// `max_age` are ignored.
    pub fn new(
        routes: Routes,
        identity: IdentityRule,
        max_age: Option<Duration>,
        publisher: P,
        directory: D,
    ) -> Self {
        let (reads_traces, ignored_types) = (false, Announced::default());
        Self { routes, identity, max_age, reads_traces, publisher, directory, ignored_types }
    }

    /// Reads where events stand in their traces, if `reads_traces`.
    #[must_use]
    pub fn with_traces(self, reads_traces: bool) -> Self {
        Self { reads_traces, ..self }
    }

    /// Decides what a record is. `now` is the time to measure its age by.
    #[must_use]
    pub fn judge(&self, record: &Record<'_>, now: Timestamp) -> Verdict {
        let unrouted = |source, outcome| Verdict {
            event_type: RoutedType::UNROUTED,
            source,
            action: Action::Settle(outcome),
        };
        if self.is_too_old(record, now) {
            return unrouted(Source::default(), Outcome::Ignored(Ignored::TooOld));
        }
        let envelope = match decode(record) {
            Ok(envelope) => envelope,
            Err(rejection) => return unrouted(Source::default(), Outcome::DeadLetter(rejection)),
        };
        let traceparent = if self.reads_traces { place_in_trace(record, &envelope) } else { None };
        let source = Source::of(&envelope, traceparent);
        let Some(route) = self.routes.find(&envelope.event_type, record.topic) else {
            self.announce(&envelope.event_type, Ignored::NoRoute);
            return unrouted(source, Outcome::Ignored(Ignored::NoRoute));
        };
        let action = match self.read(route.read, record, &envelope, now) {
            Ok(telling) => {
                if telling.notification.is_none() {
                    self.announce(route.event_type, Ignored::ByRule);
                }
                Action::Tell(Box::new(telling))
            }
            Err(rejection) => Action::Settle(Outcome::DeadLetter(rejection)),
        };
        Verdict { event_type: route.into(), source, action }
    }

    /// Says, once a type, that events of it are ignored.
    fn announce(&self, event_type: &str, why: Ignored) {
        if self.ignored_types.is_news(event_type) {
            info!(event.type = beginning(event_type), reason = why.label(), "events of this type are ignored");
        }
    }

    fn is_too_old(&self, record: &Record<'_>, now: Timestamp) -> bool {
        let age = record.written_at.map(|at| now.duration_since(at).unsigned_abs());
        let in_the_past = record.written_at.is_some_and(|at| at < now);
        in_the_past && age.zip(self.max_age).is_some_and(|(age, max)| age > max)
    }

    fn read(
        &self,
        read: fn(&serde_json::value::RawValue, Timestamp) -> Result<Reading, Rejection>,
        record: &Record<'_>,
        envelope: &Envelope<'_>,
        now: Timestamp,
    ) -> Result<Telling, Rejection> {
        let common: Common<'_> = serde_json::from_str(envelope.data.get()).map_err(|error| {
            Reason::Malformed.at(format!("payload: {}", envelope::describe(&error)))
        })?;
        let user = common.user().map(UserId::new).transpose();
        let user = user.map_err(|error| Reason::Malformed.at(error.to_string()))?;
        let happened_at = common
            .happened_at()
            .and_then(time::parse)
            .or_else(|| time::parse(envelope.event_timestamp.as_deref()?))
            .or(record.written_at)
            .unwrap_or(now);
        let reading = read(envelope.data, happened_at)?;
        let event_id = record.event_id.or(envelope.event_id.as_deref());
        let event_id = event_id.and_then(|id| Uuid::try_parse(id).ok());
        let correlation_id = envelope.correlation_id.as_deref();
        let owned = [reading.batch.map(Owned::Batch), reading.class.map(Owned::Class)];
        Ok(Telling {
            address: Address { user, owned: owned.into_iter().flatten().collect() },
            identity: self.identity.identity(envelope, event_id),
            notification: reading
                .notification
                .map(|notification| notification.caused_by(event_id, correlation_id)),
            out_of_patience: record.out_of_patience,
        })
    }

    /// Tells everybody whom the verdicts concern; an outcome each, in the same order.
    ///
    /// # Errors
    /// [`NotNow`] if the outside world failed at any of it. Nobody is told twice if the same
    /// verdicts are delivered again.
    pub async fn deliver(&self, verdicts: &[Verdict]) -> Result<Vec<Outcome>, NotNow> {
        let tellings: Vec<&Telling> = verdicts.iter().filter_map(Verdict::telling).collect();
        let addresses: Vec<&Address> = tellings.iter().map(|telling| &telling.address).collect();
        let mut owners = Owners::of(&addresses);
        let (users, receipts) = if owners.are_asked_for() {
            owners.exchange(&self.directory).await?;
            let users = owners.recipients(&addresses);
            let receipts = self.publish(&tellings, &users).await?;
            (users, receipts)
        } else {
            // Who is told hangs on no answer, so that both take one round trip.
            let users = owners.recipients(&addresses);
            let publishing = self.publish(&tellings, &users);
            let (exchanged, receipts) = join(owners.exchange(&self.directory), publishing).await;
            exchanged?;
            (users, receipts?)
        };
        let (mut users, mut receipts) = (users.into_iter(), receipts.into_iter());
        let outcome = |verdict: &Verdict| match &verdict.action {
            Action::Settle(outcome) => outcome.clone(),
            Action::Tell(telling) => {
                telling.outcome(users.next().flatten().is_some(), &mut receipts)
            }
        };
        Ok(verdicts.iter().map(outcome).collect())
    }

    /// Tells those whose users are known; a receipt each.
    async fn publish(
        &self,
        tellings: &[&Telling],
        users: &[Option<UserId>],
    ) -> Result<Vec<Receipt>, NotNow> {
        let deliveries: Vec<Delivery> = tellings
            .iter()
            .zip(users)
            .filter_map(|(telling, user)| telling.delivery(user.as_ref()))
            .collect();
        if deliveries.is_empty() {
            return Ok(Vec::new());
        }
        self.publisher.publish(&deliveries).await
    }
}

impl Verdict {
    /// Says where in its trace the work on it stands.
    pub fn traced(&mut self, traceparent: String) {
        if let Action::Tell(telling) = &mut self.action
            && let Some(notification) = &mut telling.notification
        {
            notification.traced(traceparent);
        }
    }

    fn telling(&self) -> Option<&Telling> {
        match &self.action {
            Action::Tell(telling) => Some(telling),
            Action::Settle(_) => None,
        }
    }
}

impl Telling {
    fn delivery(&self, user: Option<&UserId>) -> Option<Delivery> {
        let (user, notification) = (user?, self.notification.as_ref()?);
        let text = notification.to_text(user);
        Some(Delivery { user: user.clone(), identity: self.identity, text })
    }

    /// The outcome; takes its receipt if it has one.
    fn outcome(&self, has_user: bool, receipts: &mut impl Iterator<Item = Receipt>) -> Outcome {
        if self.notification.is_none() {
            return Outcome::Ignored(Ignored::ByRule);
        }
        if !has_user {
            // Without anything that has an owner, waiting would not help.
            let in_vain = self.out_of_patience || self.address.owned.is_empty();
            let nobody = || Reason::RecipientUnknown.at("nobody said who is to be told");
            return if in_vain { Outcome::DeadLetter(nobody()) } else { Outcome::OwnerUnknown };
        }
        match receipts.next().expect("a publisher gives a receipt for each delivery") {
            Receipt::Published => Outcome::Published,
            Receipt::Duplicate => Outcome::Duplicate,
            Receipt::Refused(why) => Outcome::DeadLetter(Reason::Malformed.at(why)),
        }
    }
}

fn decode<'a>(record: &Record<'a>) -> Result<Envelope<'a>, Rejection> {
    let value = record.value.ok_or_else(|| Reason::NotJson.at("the record has no value"))?;
    Envelope::parse(value).map_err(|error| match error {
        EnvelopeError::NotJson(detail) => Reason::NotJson.at(detail),
        EnvelopeError::NoEnvelope(detail) => Reason::NoEnvelope.at(detail),
    })
}

#[cfg(test)]
mod tests;
