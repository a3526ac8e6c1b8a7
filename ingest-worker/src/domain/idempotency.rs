//! The identity of an event: two records with the same identity are published once.

use clap::ValueEnum;
use sha2::{Digest, Sha256};
use shared::envelope::Envelope;
use uuid::Uuid;

use crate::notification::publisher::EventIdentity;

/// Which records count as the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum IdentityRule {
    /// Events with the same type and `event_id` are one; without an id, with the same content.
    EventId,
    /// Events with the same type and payload are one, whatever their `event_id`.
    Content,
}

impl IdentityRule {
    /// Returns the identity of an event of a route's event type, with the given `event_id`.
    #[must_use]
    pub(super) fn identity(
        self,
        envelope: &Envelope<'_>,
        event_type: &str,
        event_id: Option<Uuid>,
    ) -> EventIdentity {
        match (self, event_id) {
            (Self::EventId, Some(id)) => {
                EventIdentity::EventId { id, type_hash: fnv1a(event_type.as_bytes()) }
            }
            (Self::EventId, None) | (Self::Content, _) => {
                let hash = Sha256::new()
                    .chain_update(envelope.event_type.as_bytes())
                    // UTF-8 never contains this byte, so it separates type and payload.
                    .chain_update([0xff])
                    .chain_update(envelope.data.get());
                EventIdentity::Content(hash.finalize().into())
            }
        }
    }
}

/// The 32-bit FNV-1a hash: a claim key is stored per event, so it holds no whole event type.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(rule: IdentityRule, json: &str, id: Option<u128>) -> EventIdentity {
        let envelope = Envelope::parse(json.as_bytes()).unwrap();
        rule.identity(&envelope, &envelope.event_type, id.map(Uuid::from_u128))
    }

    #[test]
    fn the_hash_of_an_event_type_is_fnv_1a() {
        assert_eq!(
            [fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")],
            [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]
        );
    }

    #[test]
    fn by_event_id_the_content_does_not_matter() {
        let rule = IdentityRule::EventId;
        let one = identity(rule, r#"{"event_type":"t","data":{"a":1}}"#, Some(1));
        assert_eq!(one, identity(rule, r#"{"event_type":"t","data":{"a":2}}"#, Some(1)));
        assert_ne!(one, identity(rule, r#"{"event_type":"t","data":{"a":1}}"#, Some(2)));
        assert_ne!(one, identity(rule, r#"{"event_type":"u","data":{"a":1}}"#, Some(1)));
        assert_eq!(one.to_string().len(), 45);
    }

    #[test]
    fn by_content_the_event_id_does_not_matter() {
        let rule = IdentityRule::Content;
        let one = identity(rule, r#"{"event_type":"t","data":{"a":1}}"#, Some(1));
        assert_eq!(one, identity(rule, r#"{"data":{"a":1},"event_type":"t"}"#, Some(2)));
        assert_ne!(one, identity(rule, r#"{"event_type":"t","data":{"a":2}}"#, Some(1)));
        assert_ne!(one, identity(rule, r#"{"event_type":"u","data":{"a":1}}"#, Some(1)));
    }

    #[test]
    fn an_event_without_an_id_is_identified_by_its_content() {
        let json = r#"{"event_type":"t","data":{}}"#;
        let by_content = identity(IdentityRule::Content, json, Some(1));
        assert_eq!(identity(IdentityRule::EventId, json, None), by_content);
        assert_eq!(by_content.to_string().len(), 64);
    }
}
