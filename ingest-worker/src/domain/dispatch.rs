//! Resolves the recipients of a batch of classified records and publishes their notifications,
//! in the order of the records.

use futures_util::future::join;
use shared::user::UserId;

use super::{
    classify::{Action, Classification, PendingNotification},
    recipients::{OwnerDirectory, OwnerLookup, RecipientHints},
    record::{DeadLetterReason, Outcome},
};
use crate::notification::publisher::{
    OutgoingNotification, PublishOutcome, Publisher, TransientError,
};

/// Publishes notifications to the users that a directory of owners resolves.
#[derive(Debug)]
pub struct Dispatcher<P, D> {
    pub(super) publisher: P,
    pub(super) directory: D,
}

impl<P: Publisher, D: OwnerDirectory> Dispatcher<P, D> {
    /// A dispatcher with the given backends.
    pub fn new(publisher: P, directory: D) -> Self {
        Self { publisher, directory }
    }

    /// Publishes all pending notifications; returns an outcome per classification, in order.
    ///
    /// # Errors
    /// [`TransientError`] if a backend failed. Dispatching the same classifications again
    /// publishes nothing twice.
    pub async fn dispatch(
        &self,
        classifications: &[Classification],
    ) -> Result<Vec<Outcome>, TransientError> {
        let pending: Vec<&PendingNotification> =
            classifications.iter().filter_map(Classification::pending).collect();
        let hints: Vec<&RecipientHints> =
            pending.iter().map(|pending| &pending.recipient).collect();
        let mut owners = OwnerLookup::new(&hints);
        let (users, published) = if owners.needs_answer() {
            owners.resolve(&self.directory).await?;
            let users = owners.recipients(&hints);
            let published = self.publish(&pending, &users).await?;
            (users, published)
        } else {
            // No recipient depends on the directory, so both calls share one round trip.
            let users = owners.recipients(&hints);
            let publishing = self.publish(&pending, &users);
            let (resolved, published) = join(owners.resolve(&self.directory), publishing).await;
            resolved?;
            (users, published?)
        };
        let (mut users, mut published) = (users.into_iter(), published.into_iter());
        let outcome = |classification: &Classification| match &classification.action {
            Action::Finish(outcome) => outcome.clone(),
            Action::Notify(pending) => {
                pending.outcome(users.next().flatten().is_some(), &mut published)
            }
        };
        Ok(classifications.iter().map(outcome).collect())
    }

    /// Publishes the notifications whose users are known; returns an outcome for each of those.
    async fn publish(
        &self,
        pending: &[&PendingNotification],
        users: &[Option<UserId>],
    ) -> Result<Vec<PublishOutcome>, TransientError> {
        let notifications: Vec<OutgoingNotification> = pending
            .iter()
            .zip(users)
            .filter_map(|(pending, user)| pending.addressed_to(user.as_ref()?))
            .collect();
        if notifications.is_empty() {
            return Ok(Vec::new());
        }
        self.publisher.publish(&notifications).await
    }
}

impl PendingNotification {
    fn addressed_to(&self, user: &UserId) -> Option<OutgoingNotification> {
        let text = self.notification.as_ref().ok()?.to_json(user);
        Some(OutgoingNotification { user: user.clone(), identity: self.identity, text })
    }

    /// Returns the outcome, from the next of `published` if the notification was published.
    fn outcome(
        &self,
        has_user: bool,
        published: &mut impl Iterator<Item = PublishOutcome>,
    ) -> Outcome {
        if let Err(reason) = self.notification {
            return Outcome::Ignored(reason);
        }
        if !has_user {
            // An owner can become known only for a batch or class that the event names.
            let is_final = self.wait_expired || self.recipient.owned.is_empty();
            let rejection =
                || DeadLetterReason::RecipientUnknown.with_detail("no recipient is known");
            return if is_final { Outcome::DeadLetter(rejection()) } else { Outcome::OwnerUnknown };
        }
        match published.next().expect("a publisher returns an outcome per notification") {
            PublishOutcome::Published => Outcome::Published,
            PublishOutcome::Duplicate => Outcome::Duplicate,
            PublishOutcome::Refused(error) => Outcome::Refused(error),
            PublishOutcome::Invalid(why) => {
                Outcome::DeadLetter(DeadLetterReason::Malformed.with_detail(why))
            }
        }
    }
}
