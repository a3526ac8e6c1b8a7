//! Partitions that are read again because Redis has lost data.

use std::time::Duration;

use super::*;
use crate::{infrastructure::kafka::rewind_to::RewindTo, notification::loss_time::LossTime};

const LOSS: LossTime = LossTime::IntactUntil(50);
const SILENT: Restore = Restore::HistoryOnly(LOSS);
const MISSING: RewindTo =
    RewindTo::Age { max: Duration::from_hours(1), silent_until: None, loss: LOSS };

#[test]
fn a_restore_repeats_what_was_finished_behind_an_unfinished_record_and_not_that_record() {
    let mut offsets = assigned();
    let [parked, _, finished] = [5, 6, 7].map(|offset| read(&mut offsets, offset));
    offsets.park("t", 0, 5, parked);
    offsets.finish("t", 0, 7, finished);
    assert_eq!(offsets.restore_start("t", 0, 100), Some(5), "the parked record is not left out");
    assert_eq!(offsets.restore_start("t", 0, 3), Some(3));
    offsets.begin_restore("t", 0, 3, None, LOSS);
    let kind = |offsets: &mut Offsets, offset| offsets.read("t", 0, offset).unwrap().restore;
    let kinds = [3, 5, 6].map(|offset| kind(&mut offsets, offset));
    assert_eq!(kinds, [Some(SILENT), Some(Restore::Unfinished), Some(Restore::Unfinished)]);
    // Redis loses everything again before the rest is read.
    offsets.begin_restore("t", 0, 5, None, LOSS);
    let kinds = [5, 6, 7, 8].map(|offset| kind(&mut offsets, offset));
    let expected = [Some(Restore::Unfinished), Some(Restore::Unfinished)];
    assert_eq!(kinds, [expected[0], expected[1], Some(SILENT), None]);
}

#[test]
fn a_restore_goes_on_behind_records_that_are_deleted_meanwhile_and_not_in_another_log() {
    for (first, restored) in [(7, Some(SILENT)), (2, None)] {
        let mut offsets = assigned();
        for offset in 3..10 {
            let id = read(&mut offsets, offset);
            offsets.finish("t", 0, offset, id);
        }
        offsets.begin_restore("t", 0, 4, None, LOSS);
        assert_eq!(offsets.read("t", 0, 4).unwrap().restore, Some(SILENT));
        offsets.reset("t", 0, 5);
        assert_eq!(offsets.read("t", 0, first).unwrap().restore, restored);
    }
}

#[test]
fn the_commit_stays_where_it_is_until_redis_has_the_position() {
    let mut offsets = assigned();
    offsets.set_start("t", 0, 5);
    offsets.hold_commits("t", 0, 5);
    let five = read(&mut offsets, 5);
    offsets.finish("t", 0, 5, five);
    assert_eq!(offsets.take_committable(), [("t", 0, 5)]);
    offsets.set_confirmed("t", 0, Some(6));
    assert_eq!(offsets.take_committable(), [("t", 0, 6)]);
}

#[test]
fn what_was_not_published_again_before_a_second_loss_is_still_published() {
    let mut offsets = assigned();
    for offset in 0..4 {
        let id = read(&mut offsets, offset);
        offsets.finish("t", 0, offset, id);
    }
    offsets.begin_restore("t", 0, 1, Some(0), LossTime::default());
    let one = read(&mut offsets, 1);
    offsets.finish("t", 0, 1, one);
    read(&mut offsets, 2);
    offsets.begin_restore("t", 0, 0, None, LOSS);
    let admitted = [0, 1, 2, 3].map(|offset| offsets.read("t", 0, offset).unwrap());
    assert!(admitted.iter().all(|admitted| !admitted.is_reread), "none is too old to be restored");
    let kinds = admitted.map(|admitted| admitted.restore);
    let [silent, publish] = [Some(SILENT), Some(Restore::Publish)];
    assert_eq!(kinds, [silent, silent, publish, publish]);
}

#[test]
fn a_silent_restore_ends_before_the_first_record_that_is_published() {
    let mut offsets = assigned();
    let [zero, one, parked, three] = [0, 1, 2, 3].map(|offset| read(&mut offsets, offset));
    offsets.park("t", 0, 2, parked);
    for (offset, id) in [(0, zero), (1, one), (3, three)] {
        offsets.finish("t", 0, offset, id);
    }
    offsets.begin_restore("t", 0, 0, None, LOSS);
    let [zero, one, parked, _] = [0, 1, 2, 3].map(|offset| read(&mut offsets, offset));
    assert_eq!(offsets.silent_until("t", 0), Some((2, LOSS)));
    offsets.park("t", 0, 0, zero);
    offsets.finish("t", 0, 1, one);
    assert_eq!(offsets.silent_until("t", 0), Some((2, LOSS)), "the first is not restored yet");
    offsets.finish("t", 0, 0, zero);
    offsets.park("t", 0, 2, parked);
    // Redis may lose what is published now, and with it every later watermark.
    assert_eq!(offsets.silent_until("t", 0), None);
}

#[test]
fn partitions_that_are_found_while_another_is_rebuilt_belong_to_the_same_loss() {
    let mut offsets = assigned();
    let five = read(&mut offsets, 5);
    offsets.finish("t", 0, 5, five);
    let noticed = LossTime::NoticedAt(70);
    offsets.begin_restore("t", 0, 5, None, noticed);
    assert_eq!(offsets.loss_noticed_at(), Some(noticed));
    let five = read(&mut offsets, 5);
    offsets.finish("t", 0, 5, five);
    assert_eq!(offsets.loss_noticed_at(), None, "it is rebuilt");
    offsets.begin_restore("t", 0, 5, None, LOSS);
    assert_eq!(offsets.loss_noticed_at(), None, "the time of the loss is known");
}

#[test]
fn what_was_finished_before_the_first_commit_is_read_again() {
    let mut offsets = assigned();
    offsets.set_start("t", 0, 5);
    assert_eq!(offsets.rewind_start("t", 0, MISSING, Some(0), None), None);
    let five = read(&mut offsets, 5);
    assert_eq!(offsets.rewind_start("t", 0, MISSING, Some(0), None), None, "it is in flight");
    offsets.finish("t", 0, 5, five);
    assert_eq!(offsets.rewind_start("t", 0, MISSING, Some(0), None), Some(5));
}

#[test]
fn what_was_finished_behind_a_parked_record_at_the_committed_offset_is_read_again() {
    let mut offsets = assigned();
    let [parked, finished] = [5, 6].map(|offset| read(&mut offsets, offset));
    let to = RewindTo::Offset { from: 5, silent_until: 0, loss: LOSS };
    assert_eq!(offsets.rewind_start("t", 0, to, Some(0), Some(5)), None);
    offsets.park("t", 0, 5, parked);
    offsets.finish("t", 0, 6, finished);
    assert_eq!(offsets.rewind_start("t", 0, to, Some(0), Some(5)), Some(5));
}

/// One of several masters lacks its watermark: all that may be lost there is read again, from where
/// another's says at the latest.
#[test]
fn a_partition_is_read_from_the_watermark_of_another_master_if_no_record_is_young_enough() {
    let mut offsets = assigned();
    offsets.set_start("t", 0, 9);
    let to =
        |silent_until| RewindTo::Age { max: Duration::from_hours(1), silent_until, loss: LOSS };
    for (silent_until, found, expected) in [
        (Some(4), None, Some(4)),
        (Some(4), Some(20), Some(4)),
        (Some(4), Some(2), Some(2)),
        (None, Some(2), Some(2)),
        (None, Some(20), None),
    ] {
        let start = offsets.rewind_start("t", 0, to(silent_until), found, Some(9));
        assert_eq!(start, expected, "{silent_until:?}, {found:?}");
    }
}

#[test]
fn the_start_of_a_partition_is_unknown_until_it_is_set_or_a_record_is_read() {
    let mut offsets = assigned();
    offsets.assign("t", 1);
    assert_eq!(offsets.without_start().len(), 2);
    offsets.set_start("t", 0, 5);
    offsets.read("t", 1, 5).expect("the partition is assigned");
    assert!(offsets.without_start().is_empty());
    offsets.assign("t", 0);
    assert_eq!(offsets.without_start().into_keys().collect::<Vec<_>>(), [("t".to_owned(), 0)]);
}
