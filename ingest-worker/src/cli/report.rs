//! What became of a record, from what Kafka and Redis have of it.

use serde::Serialize;
use shared::{time::Timestamp, user::UserId};
use uuid::Uuid;

use crate::{
    domain::{
        preview::Delivery,
        recipients::OwnedEntity,
        record::{IgnoreReason, Outcome},
    },
    infrastructure::{
        kafka::{dead_letters::origin::DeadLetterOf, search::FoundRecord},
        redis::lookup::{Lookup, Stored},
    },
};

/// What became of a record.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) written_at: Option<Timestamp>,
    pub(super) event_type: &'static str,
    /// The recipient, if it is known.
    pub(super) user: Option<String>,
    /// The identity of the claim.
    pub(super) identity: Option<String>,
    /// The seconds until the claim expires.
    pub(super) claim_expires_in_s: Option<i64>,
    /// The position in the user's history.
    pub(super) position: Option<String>,
    pub(super) dead_letters: Vec<DeadLetterOf>,
    pub(super) state: State,
    /// The state in words.
    pub(super) outcome: String,
}

/// The state of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Published,
    DeadLettered,
    Ignored,
    /// It is read again until its owner is known.
    WaitsForOwner,
    /// The group has not finished it.
    Unfinished,
    /// The group has finished it, and nothing shows what became of it.
    Unknown,
}

/// Whom a record is for, and what Redis has of it.
struct Published {
    user: Option<UserId>,
    stored: Option<Stored>,
}

impl Report {
    /// Looks up what Redis has of a record. Without `event` its position is not looked up.
    pub(super) async fn of(
        record: FoundRecord,
        event: Option<Uuid>,
        dead_letters: &[DeadLetterOf],
        lookup: &Lookup,
    ) -> anyhow::Result<Self> {
        let dead_letters = dead_letters.iter().filter(|letter| letter.is_of(&record.origin));
        let dead_letters: Vec<DeadLetterOf> = dead_letters.cloned().collect();
        let delivery = record.preview.result.as_ref().ok();
        let Published { user, stored } = match delivery {
            Some(delivery) => published(delivery, event, lookup).await?,
            None => Published { user: None, stored: None },
        };
        let stored = stored.unwrap_or(Stored { claim_ms: None, position: None });
        let (state, outcome) = state(&record, user.as_ref(), &stored, &dead_letters);
        let identity = delivery.map(|delivery| delivery.identity.to_string());
        let (event_type, written_at) = (record.preview.event_type, record.written_at);
        let (topic, partition, offset) = record.origin;
        Ok(Self {
            topic,
            partition,
            offset,
            written_at,
            event_type,
            user: user.map(|user| user.to_string()),
            identity,
            claim_expires_in_s: stored.claim_ms.map(|ms| ms / 1_000),
            position: stored.position,
            dead_letters,
            state,
            outcome,
        })
    }
}

async fn published(
    Delivery { recipient, identity }: &Delivery,
    event: Option<Uuid>,
    lookup: &Lookup,
) -> anyhow::Result<Published> {
    let user = match &recipient.user {
        Some(user) => Some(user.clone()),
        None => lookup.owner(&recipient.owned).await?,
    };
    let stored = match &user {
        Some(user) => Some(lookup.stored(user, *identity, event).await?),
        None => None,
    };
    Ok(Published { user, stored })
}

/// Returns the state of a record, and the state in words.
fn state(
    record: &FoundRecord,
    user: Option<&UserId>,
    stored: &Stored,
    dead_letters: &[DeadLetterOf],
) -> (State, String) {
    if let Some(user) = user {
        if let Some(position) = &stored.position {
            return (State::Published, format!("published to {user} as {position}"));
        }
        if stored.claim_ms.is_some() {
            let text = format!("published to {user}; no longer in the searched history");
            return (State::Published, text);
        }
    }
    if let Some(DeadLetterOf { position, reason, detail, replayed, .. }) = dead_letters.last() {
        let replayed = if *replayed { ", replayed" } else { "" };
        let text = format!("dead letter {position}: {reason}: {detail}{replayed}");
        return (State::DeadLettered, text);
    }
    if !record.is_finished() {
        return unfinished(record, user);
    }
    if let Err(Outcome::Ignored(reason)) = &record.preview.result {
        return (State::Ignored, ignored(*reason).to_owned());
    }
    let text = "finished, but its claim has expired or was lost, and there is no dead letter";
    (State::Unknown, text.to_owned())
}

fn unfinished(record: &FoundRecord, user: Option<&UserId>) -> (State, String) {
    let at = record.committed.map_or_else(
        || "the group has no committed offset".to_owned(),
        |committed| format!("the group's committed offset is {committed}"),
    );
    let Ok(Delivery { recipient, .. }) = &record.preview.result else {
        return (State::Unfinished, format!("not finished: {at}"));
    };
    if let Some(user) = user {
        return (State::Unfinished, format!("not published to {user} yet: {at}"));
    }
    let owned = recipient.owned.iter().map(|owned| match owned {
        OwnedEntity::Batch(id) => format!("batch {id}"),
        OwnedEntity::Class(id) => format!("class {id}"),
    });
    let owned = owned.collect::<Vec<_>>().join(" or ");
    (State::WaitsForOwner, format!("waits for the owner of {owned}: {at}"))
}

fn ignored(reason: IgnoreReason) -> &'static str {
    match reason {
        IgnoreReason::NoRoute => "ignored: its event type has no route",
        IgnoreReason::ByRule => "ignored: events like it are no notifications",
        IgnoreReason::OtherSource => "ignored: NOTIFICATION_SOURCE selects another event for it",
        IgnoreReason::TooOld => "ignored: older than MAX_EVENT_AGE",
        IgnoreReason::Rewound => "ignored: finished before its partition was rewound",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{preview::Preview, recipients::RecipientHints},
        notification::publisher::EventIdentity,
    };

    fn record(committed: Option<i64>, result: Result<Delivery, Outcome>) -> FoundRecord {
        FoundRecord {
            origin: ("topic".into(), 0, 7),
            written_at: None,
            committed,
            preview: Preview { event_type: "type", result },
        }
    }

    fn delivery(batch: &str) -> Delivery {
        let owned = vec![OwnedEntity::Batch(batch.into())];
        let recipient = RecipientHints { user: None, owned };
        Delivery { recipient, identity: EventIdentity::Content([0; 32]) }
    }

    #[test]
    fn a_record_is_published_where_its_claim_or_its_notification_is_stored() {
        let user = UserId::new("u").unwrap();
        let stored = |claim_ms, position: Option<&str>| Stored {
            claim_ms,
            position: position.map(str::to_owned),
        };
        let state = |stored: Stored, committed| {
            let (state, text) =
                state(&record(Some(committed), Ok(delivery("b"))), Some(&user), &stored, &[]);
            (state, text.contains("9-0"))
        };
        assert_eq!(state(stored(Some(1), Some("9-0")), 8), (State::Published, true));
        assert_eq!(state(stored(Some(1), None), 8), (State::Published, false));
        assert_eq!(state(stored(None, None), 7), (State::Unfinished, false));
        assert_eq!(state(stored(None, None), 8), (State::Unknown, false));
    }

    #[test]
    fn a_record_without_an_owner_names_the_batch_that_it_waits_for() {
        let nothing = Stored { claim_ms: None, position: None };
        let (waits, text) = state(&record(Some(7), Ok(delivery("b-1"))), None, &nothing, &[]);
        assert_eq!(waits, State::WaitsForOwner);
        assert!(text.contains("batch b-1") && text.contains("offset is 7"), "{text}");
        let ignored = Err(Outcome::Ignored(IgnoreReason::NoRoute));
        assert_eq!(state(&record(Some(8), ignored), None, &nothing, &[]).0, State::Ignored);
    }
}
