//! Batches that are prepared while the one before them is published.

use std::sync::Arc;

use super::{backends::Data, *};
use crate::domain::record::IgnoreReason;

/// Waits until this many batches were prepared.
async fn encoded(setup: &Setup, batches: usize) {
    setup.until("a batch is prepared", |setup| setup.store.encoded() == batches).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_batch_is_prepared_once_while_the_one_before_it_is_published() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(1, "u"));
            encoded(&setup, 1).await;
            setup.broker.produce(0, of_user(2, "u"));
            encoded(&setup, 2).await;
            assert_eq!(setup.metrics.batch_stuck.get(), 0);
            assert!(setup.store.published().is_empty());
            setup.store.gate.set_open(true);
            setup.published(&[1, 2]).await;
            setup.committed(0, 2).await;
        })
        .await;
    assert_eq!((setup.store.encoded(), setup.store.calls()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_prepared_record_waits_for_one_before_it_that_is_refused_and_others_do_not() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(1, "u"));
            encoded(&setup, 1).await;
            setup.broker.produce(0, of_user(2, "u"));
            setup.broker.produce(0, of_user(3, "v"));
            encoded(&setup, 2).await;
            setup.store.refuse(Some("u"));
            setup.store.gate.set_open(true);
            setup.published(&[3]).await;
            assert_eq!(setup.parked(ParkReason::RedisRefused), 1);
            setup.until("2 is behind it", |setup| setup.parked(ParkReason::Order) == 1).await;
            setup.store.refuse(None);
            setup.published(&[3, 1, 2]).await;
            setup.committed(0, 3).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn prepared_records_of_a_revoked_partition_are_not_published() {
    let setup = Setup::new([0, 1]);
    setup
        .run(async {
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(1, "u"));
            encoded(&setup, 1).await;
            setup.broker.produce(0, of_user(2, "u"));
            setup.broker.produce(1, of_user(3, "v"));
            encoded(&setup, 2).await;
            setup.until("the batch is stuck", |setup| setup.metrics.batch_stuck.get() == 1).await;
            setup.broker.revoke(0);
            setup.until("2 is dropped", |setup| setup.metrics.revoked.get() == 1).await;
            setup.store.gate.set_open(true);
            setup.published(&[1, 3]).await;
            setup.committed(1, 1).await;
            assert_eq!(setup.broker.committed(0), 0);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_prepared_batch_is_published_with_records_that_are_read_after_it_was_prepared() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(1, "u"));
            encoded(&setup, 1).await;
            setup.broker.produce(0, of_user(2, "u"));
            encoded(&setup, 2).await;
            setup.until("the batch is stuck", |setup| setup.metrics.batch_stuck.get() == 1).await;
            setup.broker.produce(0, of_user(3, "u"));
            setup.until("3 is read", |setup| setup.metrics.consumed.get() == 3).await;
            setup.store.gate.set_open(true);
            setup.published(&[1, 2, 3]).await;
        })
        .await;
    assert_eq!(setup.store.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_recipients_are_looked_up_sees_the_owners_that_the_one_before_it_states() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_batch_and_user(1, "b", "u"));
            encoded(&setup, 1).await;
            setup.broker.produce(0, of_batch(2, "b"));
            setup.until("2 is read", |setup| setup.metrics.consumed.get() == 2).await;
            assert_eq!(setup.store.encoded(), 1);
            setup.store.gate.set_open(true);
            setup.published(&[1, 2]).await;
        })
        .await;
    assert_eq!(setup.store.encoded(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_prepared_while_a_parked_one_is_tried_again_waits_for_it() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.store.refuse(Some("u"));
            setup.broker.produce(0, of_user(1, "u"));
            setup.until("1 is parked", |s| s.parked(ParkReason::RedisRefused) == 1).await;
            setup.store.gate.set_open(false);
            encoded(&setup, 2).await;
            setup.broker.produce(0, of_user(2, "u"));
            encoded(&setup, 3).await;
            setup.store.gate.set_open(true);
            setup.until("2 is behind it", |setup| setup.parked(ParkReason::Order) == 1).await;
            assert!(setup.store.published().is_empty());
            setup.store.refuse(None);
            setup.published(&[1, 2]).await;
            setup.committed(0, 2).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_prepared_record_is_ignored_if_the_watermark_says_that_it_is_read_again_too_late() {
    let setup = Setup::new([0]);
    let rewound = Data::with_watermark(&Arc::from("g/t/0"), "x.1 0 reread-until 100");
    setup.store.fail_over_to(rewound);
    setup.broker.produce(0, of_user(1, "u"));
    let too_old = |setup: &Setup| setup.metrics.ignored.of(IgnoreReason::TooOld).get();
    setup.run(setup.until("1 is ignored", |setup| too_old(setup) == 1)).await;
    assert_eq!(setup.store.encoded(), 1, "it was prepared before the watermark was read");
    assert!(setup.store.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_prepared_record_behind_one_that_shows_a_loss_is_published_after_what_is_restored() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.broker.produce(0, of_user(1, "u"));
            setup.committed(0, 1).await;
            let replica = setup.store.snapshot();
            setup.broker.produce(0, of_user(2, "u"));
            setup.committed(0, 2).await;
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(3, "u"));
            encoded(&setup, 3).await;
            setup.broker.produce(0, of_user(4, "u"));
            encoded(&setup, 4).await;
            setup.store.fail_over_to(replica);
            setup.store.gate.set_open(true);
            setup.published(&[1, 2, 3, 2, 4]).await;
            setup.committed(0, 4).await;
        })
        .await;
    assert_eq!(setup.metrics.revoked.get(), 1);
}
