//! Resolves the recipients of a batch of classified records and publishes their notifications, in
//! the order of the records. A record that cannot be published now holds up the later ones that
//! share an ordering key with it, and nothing else.

use futures_util::future::join;
use shared::user::UserId;

use super::{
    classify::{Action, Classification, PendingNotification},
    ordering::{BatchHolds, HeldKeys, ordering_keys},
    panics,
    recipients::{OwnerDirectory, OwnerLookup, Recipient, RecipientHints},
    record::{DeadLetterReason, Outcome, ParkReason, Restore},
};
use crate::notification::publisher::{
    OutgoingNotification, PublishOutcome, Published, Publisher, StoredWatermark, TransientError,
    Watermark,
};

/// Publishes notifications to the users that a directory of owners resolves.
#[derive(Debug)]
pub struct Dispatcher<P, D> {
    pub(crate) publisher: P,
    pub(super) directory: D,
}

/// The outcome per classification, in order, and what the servers hold of the watermarks; nothing
/// if nothing was published.
pub type Dispatched = (Vec<Outcome>, Vec<StoredWatermark>);

/// What to do with each pending notification of a batch.
struct Plan {
    /// Those to publish.
    notifications: Vec<OutgoingNotification>,
    /// The outcomes of all; `None` for the next one to publish.
    outcomes: Vec<Option<Outcome>>,
}

impl<P: Publisher, D: OwnerDirectory> Dispatcher<P, D> {
    /// A dispatcher with the given backends.
    pub fn new(publisher: P, directory: D) -> Self {
        Self { publisher, directory }
    }

    /// Publishes all pending notifications but those that `held` keys block, and `watermarks` with
    /// them. Stores the owners that any of them states. If it `is_repeated`, the notifications may
    /// have been published by a call that has failed.
    ///
    /// # Errors
    /// [`TransientError`] if a backend failed as a whole. Dispatching the same classifications
    /// again publishes nothing twice.
    pub async fn dispatch(
        &self,
        classifications: &[Classification],
        held: &HeldKeys,
        watermarks: &[Watermark],
        is_repeated: bool,
    ) -> Result<Dispatched, TransientError> {
        let pending: Vec<&PendingNotification> =
            classifications.iter().filter_map(Classification::pending).collect();
        let hints: Vec<&RecipientHints> =
            pending.iter().map(|pending| &pending.recipient).collect();
        let mut owners = OwnerLookup::new(&hints);
        let (outcomes, stored) = if owners.needs_answer() {
            owners.resolve(&self.directory).await?;
            let plan = Plan::new(&pending, &owners.recipients(&hints), held);
            self.publish(&pending, plan, watermarks, is_repeated).await?
        } else {
            // No recipient depends on the directory, so both calls share one round trip. Owners are
            // sent first: a server that has the watermark has them too.
            let plan = Plan::new(&pending, &owners.recipients(&hints), held);
            let publishing = self.publish(&pending, plan, watermarks, is_repeated);
            let (resolved, outcomes) = join(owners.resolve(&self.directory), publishing).await;
            resolved?;
            let (mut outcomes, stored) = outcomes?;
            // An event whose owner was not stored is not finished, although it may be published.
            for (pending, outcome) in pending.iter().zip(&mut outcomes) {
                if let Some(error) = owners.refusal(&pending.recipient) {
                    let user = pending.recipient.user.as_ref();
                    *outcome = pending.refused(user, error.clone());
                }
            }
            (outcomes, stored)
        };
        Ok((in_order(classifications, outcomes), stored))
    }

    /// Publishes what is planned; returns the outcomes of all pending notifications.
    async fn publish(
        &self,
        pending: &[&PendingNotification],
        plan: Plan,
        watermarks: &[Watermark],
        is_repeated: bool,
    ) -> Result<Dispatched, TransientError> {
        let Plan { mut notifications, outcomes } = plan;
        if is_repeated {
            notifications.iter_mut().for_each(OutgoingNotification::set_restored);
        }
        // Without notifications, a watermark covers the owners that the batch states.
        let is_empty = notifications.is_empty() && pending.is_empty();
        let Published { outcomes: published, watermarks } = if is_empty {
            Published::default()
        } else {
            self.publisher.publish(&notifications, watermarks).await?
        };
        let mut published = notifications.iter().zip(published);
        let outcome = |(pending, outcome): (&&PendingNotification, Option<Outcome>)| {
            outcome.unwrap_or_else(|| {
                let next = published.next();
                let (sent, result) = next.expect("a publisher returns an outcome for each");
                pending.outcome(&sent.user, result)
            })
        };
        Ok((pending.iter().zip(outcomes).map(outcome).collect(), watermarks))
    }
}

/// Completes the outcomes of pending notifications by those of classification.
fn in_order(classifications: &[Classification], pending: Vec<Outcome>) -> Vec<Outcome> {
    let mut pending = pending.into_iter();
    let outcome = |classification: &Classification| match &classification.action {
        Action::Finish(outcome) => outcome.clone(),
        Action::Notify(_) => pending.next().expect("each pending notification has an outcome"),
    };
    classifications.iter().map(outcome).collect()
}

impl Plan {
    fn new(pending: &[&PendingNotification], recipients: &[Recipient], held: &HeldKeys) -> Self {
        let mut plan = Self {
            notifications: Vec::with_capacity(pending.len()),
            outcomes: Vec::with_capacity(pending.len()),
        };
        let mut holds = BatchHolds::new(held);
        for (pending, recipient) in pending.iter().zip(recipients) {
            let outcome = match pending.next_step(recipient, &mut holds) {
                Ok(notification) => {
                    plan.notifications.push(notification);
                    None
                }
                Err(outcome) => Some(outcome),
            };
            plan.outcomes.push(outcome);
        }
        plan
    }
}

impl PendingNotification {
    /// Returns what to publish, or the outcome if there is nothing to publish now.
    fn next_step(
        &self,
        recipient: &Recipient,
        holds: &mut BatchHolds<'_>,
    ) -> Result<OutgoingNotification, Outcome> {
        let user = match recipient {
            Recipient::Known(user) => Some(user),
            Recipient::Unknown => None,
            Recipient::Refused(error) => {
                holds.hold(&ordering_keys(&self.recipient, self.recipient.user.as_ref()));
                return Err(self.refused(self.recipient.user.as_ref(), error.clone()));
            }
        };
        let notification =
            self.notification.as_ref().map_err(|reason| Outcome::Ignored(*reason))?;
        if !holds.is_empty() {
            let keys = ordering_keys(&self.recipient, user);
            if holds.blocks(&keys, self.order) {
                holds.hold(&keys);
                return Err(Outcome::parked(ParkReason::Order, keys, None));
            }
        }
        let Some(user) = user else {
            // An owner can become known only for a batch or class that the event names.
            if self.wait_expired || self.recipient.owned.is_empty() {
                let reason = DeadLetterReason::RecipientUnknown;
                return Err(Outcome::DeadLetter(reason.with_detail("no recipient is known")));
            }
            let keys = ordering_keys(&self.recipient, None);
            holds.hold(&keys);
            return Err(Outcome::parked(ParkReason::OwnerUnknown, keys, None));
        };
        let text = panics::catch("rendering", || notification.to_json(user));
        let text = text.map_err(Outcome::DeadLetter)?;
        let history_only = match self.restore {
            Some(Restore::HistoryOnly(loss)) => Some(loss),
            _ => None,
        };
        let (user, identity) = (user.clone(), self.identity);
        Ok(OutgoingNotification { user, identity, text, history_only })
    }

    /// Returns the outcome if a backend refused what concerns the event; a retry may succeed.
    fn refused(&self, user: Option<&UserId>, error: TransientError) -> Outcome {
        let keys = ordering_keys(&self.recipient, user);
        Outcome::parked(ParkReason::RedisRefused, keys, Some(error))
    }

    fn outcome(&self, user: &UserId, result: PublishOutcome) -> Outcome {
        match result {
            PublishOutcome::Published if self.restore.is_some_and(Restore::was_finished) => {
                Outcome::Restored
            }
            PublishOutcome::Published => Outcome::Published,
            PublishOutcome::Duplicate => Outcome::Duplicate,
            PublishOutcome::Refused(error) => self.refused(Some(user), error),
            PublishOutcome::Invalid(why) => {
                Outcome::DeadLetter(DeadLetterReason::Malformed.with_detail(why))
            }
        }
    }
}
