mod restore;

use super::*;

fn assigned() -> Offsets {
    let mut offsets = Offsets::default();
    offsets.assign("t", 0);
    offsets
}

fn read(offsets: &mut Offsets, offset: i64) -> InFlightId {
    offsets.read("t", 0, offset).expect("the partition is assigned").id
}

#[test]
fn only_the_contiguous_finished_prefix_is_committable() {
    let mut offsets = assigned();
    let [five, six, nine] = [5, 6, 9].map(|offset| read(&mut offsets, offset));
    offsets.finish("t", 0, 6, six);
    assert_eq!(offsets.take_committable(), [("t", 0, 5)]);
    offsets.finish("t", 0, 5, five);
    assert_eq!(offsets.take_committable(), [("t", 0, 9)]);
    assert!(offsets.take_committable().is_empty());
    assert!(offsets.is_in_flight(&("t".to_owned(), 0)));
    offsets.finish("t", 0, 9, nine);
    assert_eq!(offsets.take_committable(), [("t", 0, 10)]);
    assert!(!offsets.is_in_flight(&("t".to_owned(), 0)));
}

#[test]
fn a_parked_record_holds_the_committable_offset_until_it_is_finished() {
    let mut offsets = assigned();
    let parked = read(&mut offsets, 1);
    assert!(offsets.park("t", 0, 1, parked));
    for offset in 2..1_000 {
        let id = read(&mut offsets, offset);
        offsets.finish("t", 0, offset, id);
    }
    assert_eq!(offsets.take_committable(), [("t", 0, 1)]);
    assert!(offsets.is_in_flight(&("t".to_owned(), 0)));
    // Parked again after a retry that failed, then finished.
    assert!(offsets.park("t", 0, 1, parked));
    offsets.finish("t", 0, 1, parked);
    assert_eq!(offsets.take_committable(), [("t", 0, 1_000)]);
}

#[test]
fn finished_records_behind_a_parked_one_are_not_kept() {
    let mut offsets = assigned();
    let parked = read(&mut offsets, 0);
    offsets.park("t", 0, 0, parked);
    for offset in 1..100_000 {
        let id = read(&mut offsets, offset);
        offsets.finish("t", 0, offset, id);
        assert!(offsets.topics["t"][&0].in_flight.len() <= 1);
    }
    assert_eq!(offsets.topics["t"][&0].parked.len(), 1);
}

#[test]
fn records_read_before_a_revocation_no_longer_count() {
    let mut offsets = assigned();
    let old = read(&mut offsets, 5);
    offsets.revoke("t", 0);
    assert!(!offsets.is_current("t", 0, old));
    offsets.assign("t", 0);
    let new = read(&mut offsets, 5);
    offsets.finish("t", 0, 5, old);
    assert!(!offsets.park("t", 0, 5, old));
    assert!(offsets.take_committable().is_empty());
    offsets.finish("t", 0, 5, new);
    assert_eq!(offsets.take_committable(), [("t", 0, 6)]);
}

#[test]
fn a_record_of_a_partition_that_is_not_assigned_is_not_tracked() {
    let mut offsets = assigned();
    offsets.revoke("t", 0);
    assert_eq!(offsets.read("t", 0, 9), None);
    // It would have made 10 committable although the group continues at 5.
    offsets.assign("t", 0);
    let id = read(&mut offsets, 5);
    offsets.finish("t", 0, 5, id);
    assert_eq!(offsets.take_committable(), [("t", 0, 6)]);
}

#[test]
fn partitions_do_not_wait_for_each_other() {
    let mut offsets = assigned();
    offsets.assign("t", 1);
    let first = read(&mut offsets, 1);
    let second = offsets.read("t", 1, 1).expect("the partition is assigned").id;
    offsets.finish("t", 1, 1, second);
    assert_eq!(offsets.take_committable(), [("t", 1, 2)]);
    offsets.finish("t", 0, 1, first);
    assert_eq!(offsets.take_committable(), [("t", 0, 2)]);
}

#[test]
fn the_first_record_after_a_reset_names_the_position_that_was_left() {
    let mut offsets = assigned();
    read(&mut offsets, 5);
    offsets.reset("t", 0, 6);
    let first = offsets.read("t", 0, 20).expect("the partition is assigned");
    assert_eq!((first.reset_from, first.is_reread), (Some(6), false));
    let second = offsets.read("t", 0, 21).expect("the partition is assigned");
    assert_eq!(second.reset_from, None);
}

#[test]
fn a_record_fetched_before_a_reset_is_no_rewind() {
    let mut offsets = assigned();
    read(&mut offsets, 5);
    offsets.reset("t", 0, 7);
    let before = offsets.read("t", 0, 6).expect("the partition is assigned");
    assert_eq!((before.reset_from, before.is_reread), (None, false));
    let after = offsets.read("t", 0, 0).expect("the partition is assigned");
    assert_eq!((after.reset_from, after.is_reread), (Some(7), true));
}

#[test]
fn a_record_below_the_position_is_a_rewind_although_the_client_reports_none() {
    let mut offsets = assigned();
    let parked = read(&mut offsets, 50);
    offsets.park("t", 0, 50, parked);
    let last = read(&mut offsets, 99);
    offsets.finish("t", 0, 99, last);
    let first = offsets.read("t", 0, 10).expect("the partition is assigned");
    assert_eq!((first.reset_from, first.is_truncated), (Some(100), true));
    let second = offsets.read("t", 0, 11).expect("the partition is assigned");
    assert_eq!((second.reset_from, second.is_truncated), (None, false));
    offsets.finish("t", 0, 10, first.id);
    offsets.finish("t", 0, 11, second.id);
    assert_eq!(offsets.take_committable(), [("t", 0, 12)]);
}

#[test]
fn records_below_the_position_of_a_rewind_are_read_again() {
    let mut offsets = assigned();
    offsets.reset("t", 0, 2);
    let is_reread = [0, 1, 2].map(|offset| offsets.read("t", 0, offset).unwrap().is_reread);
    assert_eq!(is_reread, [true, true, false]);
}

#[test]
fn the_next_owner_knows_the_position_of_a_rewind_until_all_before_it_is_finished() {
    let mut offsets = assigned();
    offsets.reset("t", 0, 3);
    let [zero, one, two] = [0, 1, 2].map(|offset| read(&mut offsets, offset));
    offsets.finish("t", 0, 0, zero);
    assert_eq!(offsets.reread_until("t", 0), Some(3));
    let mut next = assigned();
    next.set_start("t", 0, 1);
    next.set_reread_until("t", 0, 3);
    let is_reread = [1, 2, 3].map(|offset| next.read("t", 0, offset).unwrap().is_reread);
    assert_eq!(is_reread, [true, true, false]);
    assert!(next.is_reread("t", 0, 2) && !next.is_reread("t", 0, 3));
    offsets.finish("t", 0, 1, one);
    offsets.finish("t", 0, 2, two);
    assert_eq!(offsets.reread_until("t", 0), None);
}

#[test]
fn a_recreated_topic_is_rewound_in_all_partitions_from_the_positions_reached() {
    let mut offsets = assigned();
    offsets.assign("t", 1);
    offsets.assign("other", 0);
    read(&mut offsets, 5);
    let mut rewound = offsets.rewind("t");
    rewound.sort_unstable();
    assert_eq!(rewound, [(0, 6), (1, 0)]);
    let first = offsets.read("t", 0, 0).expect("the partition is assigned");
    assert_eq!((first.reset_from, first.is_reread), (Some(6), true));
    assert!(offsets.rewind("unknown").is_empty());
}

#[test]
fn a_record_of_a_former_topic_releases_no_record_with_the_same_offset() {
    let mut offsets = assigned();
    let former = read(&mut offsets, 1);
    offsets.park("t", 0, 1, former);
    offsets.rewind("t");
    let [zero, one] = [0, 1].map(|offset| read(&mut offsets, offset));
    offsets.finish("t", 0, 0, zero);
    offsets.park("t", 0, 1, one);
    offsets.finish("t", 0, 1, former);
    assert_eq!(offsets.take_committable(), [("t", 0, 1)]);
}

#[test]
fn records_of_a_former_topic_hold_up_no_commit() {
    let mut offsets = assigned();
    let [parked, in_flight] = [50, 51].map(|offset| read(&mut offsets, offset));
    offsets.park("t", 0, 50, parked);
    offsets.rewind("t");
    let zero = read(&mut offsets, 0);
    offsets.finish("t", 0, 0, zero);
    assert_eq!(offsets.take_committable(), [("t", 0, 1)]);
    // Both are still processed.
    assert!(offsets.park("t", 0, 50, parked) && offsets.park("t", 0, 51, in_flight));
    assert_eq!(offsets.take_committable(), [("t", 0, 1)]);
}

#[test]
fn a_record_before_the_start_of_a_reset_still_holds_up_the_commit() {
    let mut offsets = assigned();
    let parked = read(&mut offsets, 5);
    offsets.park("t", 0, 5, parked);
    offsets.reset("t", 0, 6);
    let later = read(&mut offsets, 9);
    offsets.finish("t", 0, 9, later);
    assert_eq!(offsets.take_committable(), [("t", 0, 5)]);
}

#[test]
fn nothing_is_committed_between_a_reset_and_the_next_record() {
    let mut offsets = assigned();
    let former = read(&mut offsets, 1);
    offsets.rewind("t");
    offsets.finish("t", 0, 1, former);
    assert!(offsets.take_committable().is_empty());
    let zero = read(&mut offsets, 0);
    assert_eq!(offsets.take_committable(), [("t", 0, 0)]);
    offsets.finish("t", 0, 0, zero);
    assert_eq!(offsets.take_committable(), [("t", 0, 1)]);
}

#[test]
fn a_topic_with_another_id_was_created_again() {
    let mut offsets = assigned();
    let mut set = |id: &str| (offsets.set_topic_id("t", id.to_owned()), offsets.is_recreated("t"));
    let created_again = ["a", "a", "b", "b"].map(&mut set);
    assert_eq!(created_again, [(false, false), (false, false), (true, true), (false, true)]);
    offsets.revoke("t", 0);
    assert!(!offsets.is_recreated("t"));
    assert_eq!((offsets.topic_id("t"), offsets.topic_id("other")), (Some("b"), None));
}

#[test]
fn no_position_is_known_between_a_reset_and_the_next_record() {
    let mut offsets = assigned();
    read(&mut offsets, 5);
    offsets.rewind("t");
    assert_eq!(offsets.finished_to("t", 0), None);
    read(&mut offsets, 0);
    assert_eq!(offsets.finished_to("t", 0).map(|(_, position)| position), Some(0));
}

#[test]
fn records_that_were_deleted_up_to_the_end_are_noticed_and_committed_without_a_record() {
    let mut offsets = assigned();
    let record = read(&mut offsets, 0);
    offsets.finish("t", 0, 0, record);
    assert_eq!(offsets.take_committable(), [("t", 0, 1)]);
    assert_eq!(offsets.deleted_until("t", 0, 11), None, "without a reset");
    offsets.reset("t", 0, 1);
    assert_eq!(offsets.deleted_until("t", 0, 1), None, "as of before the reset");
    assert_eq!(offsets.deleted_until("t", 0, 11), Some(1));
    assert_eq!(offsets.deleted_until("t", 0, 11), None);
    assert_eq!(offsets.take_committable(), [("t", 0, 11)]);
    assert_eq!(offsets.read("t", 0, 11).expect("it is assigned").reset_from, None);
}
