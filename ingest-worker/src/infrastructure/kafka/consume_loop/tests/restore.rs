//! Redis loses data: the loop notices, reads again what is lost, and nothing else is processed
//! twice.

mod missing;

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{backends::Data, *};
use crate::metrics::RewindReason;

/// Longer than the interval at which watermarks are compared.
const SYNC: Duration = Duration::from_secs(2);

fn rewinds(setup: &Setup, reason: RewindReason) -> u64 {
    setup.metrics.rewinds.of(reason).get()
}

#[tokio::test(start_paused = true)]
async fn what_a_failover_loses_is_published_again_while_no_record_arrives() {
    let setup = Setup::new([0]);
    let script = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.published(&[1]).await;
        sleep(SYNC).await;
        let replica = setup.store.snapshot();
        setup.broker.produce(0, of_user(2, "u"));
        setup.broker.produce(0, b"not JSON");
        setup.broker.produce(0, of_user(3, "u"));
        setup.published(&[1, 2, 3]).await;
        setup.committed(0, 4).await;
        sleep(SYNC).await;
        setup.store.fail_over_to(replica);
        setup.published(&[1, 2, 3, 2, 3]).await;
        sleep(SYNC).await;
        assert_eq!(setup.broker.committed(0), 4);
    };
    setup.run(script).await;
    assert_eq!(setup.sink.written(), [(2, "not_json")]);
    assert_eq!(rewinds(&setup, RewindReason::Behind), 1);
    assert_eq!(setup.metrics.rewound.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failover_under_load_is_noticed_by_the_next_batch() {
    let setup = Setup::new([0]);
    let script = async {
        let mut replica = setup.store.snapshot();
        for id in 1..=20 {
            setup.broker.produce(0, of_user(id, "u"));
            setup.until("it is published", |setup| setup.store.published().contains(&id)).await;
            if id == 7 {
                replica = setup.store.snapshot();
            }
        }
        setup.store.fail_over_to(replica);
        setup.broker.produce(0, of_user(21, "u"));
        let expected: Vec<u128> = (1..=20).chain([21]).chain(8..=20).collect();
        setup.published(&expected).await;
        setup.committed(0, 21).await;
    };
    setup.run(script).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_in_an_outage_is_published_before_what_waits() {
    let setup = Setup::new([0, 1]);
    let script = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.broker.produce(1, of_user(11, "v"));
        setup.until("both are", |setup| setup.store.published().len() == 2).await;
        sleep(SYNC).await;
        let mut replica = setup.store.snapshot();
        setup.broker.produce(0, of_user(2, "u"));
        setup.committed(0, 2).await;
        sleep(SYNC).await;
        replica.keep_watermark("g/t/1", &setup.store.snapshot());
        setup.store.set_outage(true);
        setup.broker.produce(0, of_user(3, "u"));
        setup.broker.produce(1, of_user(12, "v"));
        sleep(SYNC).await;
        setup.store.fail_over_to(replica);
        setup.store.set_outage(false);
        setup.until("the last is", |setup| setup.store.published().contains(&3)).await;
        setup.committed(0, 3).await;
        setup.committed(1, 2).await;
    };
    setup.run(script).await;
    let of_u = |id: &u128| *id < 10;
    let published = setup.store.published();
    assert_eq!(published.iter().copied().filter(of_u).collect::<Vec<_>>(), [1, 2, 2, 3]);
    assert_eq!(published.iter().copied().filter(|id| !of_u(id)).collect::<Vec<_>>(), [11, 12]);
    assert_eq!(rewinds(&setup, RewindReason::Behind), 1);
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_is_published_after_a_loss_nothing_is_that_was_revoked_meanwhile() {
    let setup = Setup::new([0, 1]);
    let script = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.published(&[1]).await;
        sleep(SYNC).await;
        let replica = setup.store.snapshot();
        setup.broker.produce(1, of_user(11, "v"));
        setup.published(&[1, 11]).await;
        sleep(SYNC).await;
        setup.store.set_outage(true);
        setup.broker.produce(0, of_user(2, "u"));
        setup.broker.produce(1, of_user(12, "v"));
        sleep(SYNC).await;
        setup.broker.revoke(0);
        setup.store.fail_over_to(replica);
        sleep(SYNC).await;
        setup.store.set_outage(false);
        setup.published(&[1, 11, 11, 12]).await;
        sleep(SYNC).await;
    };
    setup.run(script).await;
    assert_eq!(setup.store.published(), [1, 11, 11, 12]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_of_a_partition_that_cannot_be_restored_yet() {
    let setup = Setup::new([0]);
    let script = async {
        setup.broker.refuse_rewinds(true);
        setup.broker.produce(0, of_user(1, "u"));
        setup.published(&[1]).await;
        sleep(SYNC / 4).await;
        // The next owner would take a watermark that was never written for a lost one.
        assert_eq!(setup.broker.committed(0), 0);
        setup.broker.refuse_rewinds(false);
        setup.committed(0, 1).await;
    };
    setup.run(script).await;
    // Redis may have lost what was published before the first watermark.
    assert_eq!(rewinds(&setup, RewindReason::Missing), 1);
    assert_eq!(setup.store.published(), [1]);
}

#[tokio::test(start_paused = true)]
async fn watermarks_that_cannot_be_read_are_no_loss_and_hold_up_no_commit() {
    let setup = Setup::new([0]);
    setup.store.refuse_watermarks(true);
    let refused = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.committed(0, 1).await;
        sleep(2 * SYNC).await;
        assert_eq!(rewinds(&setup, RewindReason::Missing), 0);
        // What was lost meanwhile is restored once they are accepted.
        setup.store.fail_over_to(Data::default());
        setup.store.refuse_watermarks(false);
        setup.until("it is rebuilt", |setup| setup.metrics.rewound.get() == 1).await;
    };
    setup.run(refused).await;
}

#[tokio::test(start_paused = true)]
async fn no_offset_is_committed_that_redis_does_not_have() {
    let setup = Setup::new([0]);
    let script = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.published(&[1]).await;
        assert_eq!(setup.broker.committed(0), 0);
        setup.committed(0, 1).await;
        assert!(setup.store.watermark("g/t/0").ends_with(" 1 at 5"));
    };
    setup.run(script).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_restores_what_a_failover_has_lost() {
    let setup = Setup::new([0]);
    let mut replica = None;
    let before = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.published(&[1]).await;
        sleep(SYNC).await;
        replica = Some(setup.store.snapshot());
        setup.broker.produce(0, of_user(2, "u"));
        setup.committed(0, 2).await;
    };
    setup.run(before).await;
    setup.store.fail_over_to(replica.expect("a snapshot"));
    setup.broker.assign(0);
    setup.run(setup.published(&[1, 2, 2])).await;
    assert_eq!(setup.broker.committed(0), 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_worker_restores_nothing() {
    let setup = Setup::new([0]);
    let before = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.committed(0, 1).await;
    };
    setup.run(before).await;
    setup.broker.assign(0);
    setup.run(sleep(SYNC)).await;
    assert_eq!(rewinds(&setup, RewindReason::Behind) + rewinds(&setup, RewindReason::Missing), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rewind_that_is_interrupted_is_completed_by_the_next_owner() {
    let setup = Setup::new([0]);
    let script = async {
        for id in 1..=3 {
            setup.broker.produce(0, of_user(id, "u"));
        }
        setup.published(&[1, 2, 3]).await;
        setup.committed(0, 3).await;
        sleep(SYNC).await;
        // Every write is refused to the user, so that the restored records stay parked.
        setup.store.refuse(Some("u"));
        let gone = Arc::from("g/t/0");
        setup.store.fail_over_to(Data::with_watermark(&gone, "x.1 0"));
        setup.until("it is parked", |setup| setup.parked(ParkReason::RedisRefused) == 3).await;
        sleep(SYNC).await;
    };
    setup.run(script).await;
    setup.store.refuse(None);
    setup.broker.assign(0);
    setup.run(setup.published(&[1, 2, 3, 1, 2, 3])).await;
    assert_eq!(setup.broker.committed(0), 3);
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_restores_what_was_lost_while_watermarks_were_refused() {
    let setup = Setup::new([0]);
    let before = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.committed(0, 1).await;
        sleep(SYNC).await;
        setup.store.keep_watermarks(true);
        let replica = setup.store.snapshot();
        setup.broker.produce(0, of_user(2, "u"));
        setup.published(&[1, 2]).await;
        sleep(SYNC).await;
        // The watermark is the same before and after.
        setup.store.fail_over_to(replica);
        setup.store.keep_watermarks(false);
    };
    setup.run(before).await;
    setup.broker.assign(0);
    setup.run(setup.published(&[1, 2, 2])).await;
    assert_eq!(setup.broker.committed(0), 2);
}
