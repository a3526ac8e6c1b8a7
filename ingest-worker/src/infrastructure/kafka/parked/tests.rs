use rdkafka::{Timestamp, message::OwnedMessage};
use shared::user::UserId;

use super::*;
use crate::infrastructure::kafka::record::InFlightRecord;

const OWNER_WAIT: Duration = Duration::from_secs(30);
/// No delay between attempts is longer.
const BACKOFF_BOUND: Duration = Duration::from_secs(1);

/// Assigned partitions, and the records that are parked.
struct Fixture {
    offsets: Offsets,
    parked: ParkedRecords,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        let mut offsets = Offsets::default();
        offsets.assign("t", 0);
        offsets.assign("t", 1);
        Self { offsets, parked: ParkedRecords::new(OWNER_WAIT), now: Instant::now() }
    }

    fn park(&mut self, partition: i32, offset: i64, reason: ParkReason, keys: &[OrderingKey]) {
        let admitted = self.offsets.read("t", partition, offset).expect("it is assigned");
        let payload = Some(vec![b'x'; 100]);
        let topic = "t".to_owned();
        let message = OwnedMessage::new(
            payload,
            None,
            topic,
            Timestamp::NotAvailable,
            partition,
            offset,
            None,
        );
        let parking = Parking { reason, keys: keys.to_vec(), error: None };
        self.parked.park(InFlightRecord::new(message, &admitted).into_owned(), parking, self.now);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// The offsets of the records that are due.
    fn take_due(&mut self) -> Vec<i64> {
        let due = self.parked.take_due(usize::MAX, self.now);
        due.iter().map(InFlightRecord::offset).collect()
    }
}

fn user(id: &str) -> OrderingKey {
    OrderingKey::User(UserId::new(id).expect("a valid id"))
}

fn batch(id: &str) -> OrderingKey {
    OrderingKey::Entity(OwnedEntity::Batch(id.into()))
}

#[test]
fn records_of_one_key_are_due_together_in_the_order_of_reading() {
    let mut fixture = Fixture::new();
    fixture.park(0, 1, ParkReason::OwnerUnknown, &[batch("b")]);
    fixture.park(0, 2, ParkReason::Order, &[batch("b"), user("u")]);
    fixture.park(0, 3, ParkReason::Order, &[user("u")]);
    assert!(fixture.take_due().is_empty(), "the first one has a delay");
    fixture.wait(BACKOFF_BOUND);
    assert_eq!(fixture.take_due(), [1, 2, 3]);
    assert_eq!((fixture.parked.len(), fixture.parked.bytes()), (0, 0));
    assert!(fixture.parked.held().is_empty());
}

#[test]
fn records_of_other_keys_do_not_wait_for_a_parked_one() {
    let mut fixture = Fixture::new();
    fixture.park(0, 1, ParkReason::RedisRefused, &[user("u")]);
    let held = fixture.parked.held();
    assert!(held.blocks(&[user("u")], u64::MAX));
    assert!(!held.blocks(&[user("v"), batch("b")], u64::MAX));
}

#[test]
fn a_learned_owner_makes_the_records_that_wait_for_it_due_at_once() {
    let mut fixture = Fixture::new();
    fixture.park(0, 1, ParkReason::OwnerUnknown, &[batch("b")]);
    fixture.park(0, 2, ParkReason::OwnerUnknown, &[batch("c")]);
    fixture.park(0, 3, ParkReason::RedisRefused, &[batch("d")]);
    let owned = ["b", "d"].map(|id| OwnedEntity::Batch(id.into()));
    fixture.parked.owners_learned(&owned, fixture.now);
    assert_eq!(fixture.take_due(), [1], "only a record that waits for its owner");
}

#[test]
fn a_record_whose_owner_stays_unknown_is_marked_once_its_time_is_over() {
    let mut fixture = Fixture::new();
    fixture.park(0, 1, ParkReason::OwnerUnknown, &[batch("b")]);
    fixture.wait(OWNER_WAIT / 2);
    let is_expired = |records: &[OwnedRecord]| {
        records.iter().any(|r| r.state.parked.as_ref().is_some_and(|parked| parked.wait_expired))
    };
    let mut due = fixture.parked.take_due(1, fixture.now);
    assert!(!is_expired(&due));
    let parking = Parking { reason: ParkReason::OwnerUnknown, keys: vec![batch("b")], error: None };
    fixture.parked.park(due.pop().expect("it is due"), parking, fixture.now);
    fixture.wait(OWNER_WAIT);
    assert!(is_expired(&fixture.parked.take_due(1, fixture.now)));
}

#[test]
fn records_of_a_revoked_partition_are_dropped_and_block_no_others() {
    let mut fixture = Fixture::new();
    fixture.park(0, 1, ParkReason::OwnerUnknown, &[batch("b")]);
    fixture.park(1, 7, ParkReason::Order, &[batch("b")]);
    let bytes = fixture.parked.bytes();
    fixture.offsets.revoke("t", 0);
    assert_eq!(fixture.parked.drop_revoked(&fixture.offsets), [ParkReason::OwnerUnknown]);
    assert_eq!((fixture.parked.len(), fixture.parked.bytes()), (1, bytes / 2));
    assert_eq!(fixture.take_due(), [7]);
}

#[test]
fn at_most_the_requested_number_of_records_is_taken() {
    let mut fixture = Fixture::new();
    for offset in 1..=3 {
        fixture.park(0, offset, ParkReason::RedisRefused, &[user(&offset.to_string())]);
    }
    fixture.wait(BACKOFF_BOUND);
    assert_eq!(fixture.parked.take_due(2, fixture.now).len(), 2);
    assert_eq!(fixture.parked.len(), 1);
}
