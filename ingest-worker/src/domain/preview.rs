//! What processing a record does, for operators.

use uuid::Uuid;

use super::{
    classify::{Action, Classification},
    recipients::RecipientHints,
    record::Outcome,
};
use crate::notification::publisher::EventIdentity;

/// What processing a record does.
#[derive(Debug)]
pub(crate) struct Preview {
    /// The route's event type.
    pub(crate) event_type: &'static str,
    /// The notification, or the outcome if there is none.
    pub(crate) result: Result<Delivery, Outcome>,
}

/// A notification that is published once its recipient is known.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// What determines the recipient.
    pub(crate) recipient: RecipientHints,
    /// The identity of its claim.
    pub(crate) identity: EventIdentity,
}

impl Classification {
    /// Returns what processing the record does.
    pub(crate) fn preview(self) -> Preview {
        let event_type = self.event_type.name();
        let result = match self.action {
            Action::Finish(outcome) => Err(outcome),
            Action::Notify(pending) => match pending.notification {
                Ok(_) => Ok(Delivery { recipient: pending.recipient, identity: pending.identity }),
                Err(reason) => Err(Outcome::Ignored(reason)),
            },
        };
        Preview { event_type, result }
    }
}

/// The id of an event in every spelling.
#[derive(Debug)]
pub(crate) struct EventIdTexts([String; 4]);

impl EventIdTexts {
    pub(crate) fn of(event: Uuid) -> Self {
        let (hyphenated, simple) = (event.hyphenated().to_string(), event.simple().to_string());
        Self([hyphenated.to_uppercase(), hyphenated, simple.to_uppercase(), simple])
    }

    /// Returns whether a record's value may be that of the event: the text of the id is in it. The
    /// values of a day are searched, so they are not parsed.
    pub(crate) fn are_in(&self, value: &[u8]) -> bool {
        std::str::from_utf8(value)
            .is_ok_and(|text| self.0.iter().any(|id| text.contains(id.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_mentions_an_event_in_every_spelling_of_its_id() {
        let event = Uuid::from_u128(0xa1b2_c3d4);
        let texts = EventIdTexts::of(event);
        for id in [event.to_string(), event.simple().to_string(), event.to_string().to_uppercase()]
        {
            assert!(texts.are_in(format!(r#"{{"event_id":"{id}"}}"#).as_bytes()), "{id}");
        }
        assert!(!texts.are_in(br#"{"event_id":"1"}"#));
        assert!(!texts.are_in(b"\xff"));
    }
}
