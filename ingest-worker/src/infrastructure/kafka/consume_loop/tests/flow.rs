//! Records that can be finished: order, commits, outages, rebalances, pauses, shutdown.

use std::sync::Arc;

use super::{backends::Data, *};
use crate::{domain::record::IgnoreReason, infrastructure::kafka::consume_loop::MAX_AHEAD};

#[tokio::test(start_paused = true)]
async fn records_are_published_in_order_and_then_committed() {
    let setup = Setup::new([0]);
    let ids: Vec<u128> = (1..=1_000).collect();
    setup
        .run(async {
            for id in &ids {
                setup.broker.produce(0, of_user(*id, "u"));
            }
            setup.published(&ids).await;
            setup.committed(0, 1_000).await;
        })
        .await;
    assert!(setup.store.calls() < 10, "{} calls for 1,000 records", setup.store.calls());
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_redis_holds_up_everything_and_then_all_is_published_in_order() {
    let setup = Setup::new([0, 1]);
    setup
        .run(async {
            setup.store.set_outage(true);
            setup.broker.produce(0, of_user(1, "u"));
            setup.until("the batch is stuck", |setup| setup.metrics.batch_stuck.get() == 1).await;
            assert!(!setup.readiness.is_ready());
            setup.broker.produce(0, of_user(2, "u"));
            setup.broker.produce(1, of_user(3, "v"));
            sleep(Duration::from_secs(10)).await;
            assert!(setup.store.published().is_empty());
            assert_eq!(setup.broker.committed(0), 0);
            setup.store.set_outage(false);
            setup.published(&[1, 2, 3]).await;
            setup.until("delivery resumes", |setup| setup.metrics.batch_stuck.get() == 0).await;
            assert!(setup.readiness.is_ready());
            setup.committed(0, 2).await;
            setup.committed(1, 1).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn behind_a_stuck_batch_records_are_read_up_to_a_limit_and_then_all_partitions_pause() {
    let setup = Setup::new([0, 1]);
    let count = u128::try_from(MAX_AHEAD.0 + 4_000).unwrap();
    setup
        .run(async {
            setup.store.set_outage(true);
            for id in 1..=count {
                setup.broker.produce(0, of_user(id, "u"));
            }
            setup.until("partitions pause", |setup| setup.broker.paused().len() == 2).await;
            let consumed = usize::try_from(setup.metrics.consumed.get()).unwrap();
            assert!((MAX_AHEAD.0..MAX_AHEAD.0 + 1_000).contains(&consumed), "{consumed} are read");
            setup.store.set_outage(false);
            setup.until("all are published", |s| s.store.published().len() as u128 == count).await;
            setup.until("partitions resume", |setup| setup.broker.paused().is_empty()).await;
        })
        .await;
    assert!(setup.store.published().is_sorted());
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_revoked_in_progress_is_not_committed_and_its_next_owner_publishes_nothing_twice()
 {
    let setup = Setup::new([0, 1]);
    setup
        .run(async {
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(1, "u"));
            setup.broker.produce(1, of_user(2, "v"));
            setup.until("both are read", |setup| setup.metrics.consumed.get() == 2).await;
            setup.broker.revoke(0);
            sleep(Duration::from_secs(2)).await;
            setup.store.gate.set_open(true);
            setup.committed(1, 1).await;
            assert_eq!(setup.store.published(), [1, 2]);
            assert_eq!(setup.broker.committed(0), 0);
            setup.broker.assign(0);
            setup.committed(0, 1).await;
            assert_eq!(setup.store.published(), [1, 2]);
            assert_eq!(setup.metrics.consumed.get(), 3);
        })
        .await;
}

/// The partition has lost records, so that the group has committed an offset above its end.
#[tokio::test(start_paused = true)]
async fn events_that_are_read_again_after_their_claims_are_not_published_by_the_next_owner_either()
{
    let setup = Setup::new([0]);
    setup.broker.commit(0, 100);
    setup.store.fail_over_to(Data::with_watermark(&Arc::from("g/t/0"), "x.1 100"));
    let too_old = |setup: &Setup| setup.metrics.ignored.of(IgnoreReason::TooOld).get();
    setup.broker.produce(0, of_user(1, "u"));
    let first_owner = async {
        setup.until("1 is ignored", |setup| too_old(setup) == 1).await;
        setup.committed(0, 1).await;
    };
    setup.run(first_owner).await;
    setup.broker.produce(0, of_user(2, "u"));
    setup.broker.assign(0);
    setup.run(setup.until("2 is ignored", |setup| too_old(setup) == 2)).await;
    assert!(setup.store.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_acknowledged_before_its_record_is_committed_and_holds_up_nothing() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.sink.gate.set_open(false);
            setup.broker.produce(0, "no JSON");
            setup.broker.produce(0, of_user(1, "u"));
            setup.published(&[1]).await;
            setup.broker.produce(0, of_user(2, "u"));
            setup.published(&[1, 2]).await;
            sleep(Duration::from_secs(10)).await;
            assert_eq!(setup.broker.committed(0), 0);
            assert_eq!(setup.metrics.batch_stuck.get(), 0);
            setup.sink.gate.set_open(true);
            setup.committed(0, 3).await;
            assert_eq!(setup.sink.written(), [(0, "not_json")]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_dead_letter_is_retried_with_back_off_while_other_records_are_processed() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.sink.set_refuses(true);
            setup.broker.produce(0, "no JSON");
            let refused = ParkReason::DeadLetterRefused;
            setup.until("the dead letter is parked", |setup| setup.parked(refused) == 1).await;
            sleep(Duration::from_mins(1)).await;
            assert!(
                (10..=30).contains(&setup.sink.attempts()),
                "{} attempts",
                setup.sink.attempts()
            );
            setup.broker.produce(0, of_user(1, "u"));
            setup.published(&[1]).await;
            assert_eq!(setup.broker.committed(0), 0);
            setup.sink.set_refuses(false);
            setup.committed(0, 2).await;
            assert_eq!(setup.parked(refused), 0);
            assert_eq!(setup.sink.written(), [(0, "not_json")]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_the_batch_in_progress_within_its_grace() {
    let setup = Setup::new([0]);
    let gate = setup.store.gate.clone();
    setup
        .run(async {
            gate.set_open(false);
            setup.broker.produce(0, of_user(1, "u"));
            setup.until("it is read", |setup| setup.metrics.consumed.get() == 1).await;
            let gate = gate.clone();
            tokio::spawn(async move {
                sleep(Duration::from_secs(5)).await;
                gate.set_open(true);
            });
        })
        .await;
    assert_eq!(setup.store.published(), [1]);
    assert_eq!(setup.broker.committed(0), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_up_a_batch_that_its_grace_does_not_suffice_for() {
    let setup = Setup::new([0]);
    let begin = Instant::now();
    setup
        .run(async {
            setup.store.set_outage(true);
            setup.broker.produce(0, of_user(1, "u"));
            setup.until("it is read", |setup| setup.metrics.consumed.get() == 1).await;
        })
        .await;
    assert!(begin.elapsed() < Duration::from_secs(21));
    assert_eq!(setup.broker.committed(0), 0);
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_with_the_fatal_error_of_its_source() {
    let setup = Setup::new([0]);
    setup.broker.fail("fenced");
    let processor = setup.processor();
    let accounting = Accounting::new(setup.metrics.clone(), setup.readiness.clone());
    let source = setup.broker.source();
    let mut consume = ConsumeLoop::new(source, &processor, &setup.sink, &accounting, &setup.limits);
    let error = consume.run(&CancellationToken::new()).await.expect_err("the source has failed");
    assert_eq!(error.to_string(), "fenced");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_refused_after_a_revocation_is_written_by_the_next_owner_only() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.sink.set_refuses(true);
            setup.sink.gate.set_open(false);
            setup.broker.produce(0, b"no JSON");
            setup.until("the record is read", |setup| setup.metrics.consumed.get() == 1).await;
            setup.broker.revoke(0);
            sleep(Duration::from_secs(1)).await;
            setup.sink.gate.set_open(true);
            setup.until("the dead letter is refused", |setup| setup.sink.attempts() == 1).await;
            setup.sink.set_refuses(false);
            sleep(Duration::from_secs(10)).await;
            assert!(setup.sink.written().is_empty());
            assert_eq!(setup.metrics.revoked.get(), 1);
            setup.broker.assign(0);
            setup.until("the dead letter is written", |s| !s.sink.written().is_empty()).await;
            setup.committed(0, 1).await;
            assert_eq!(setup.sink.written(), [(0, "not_json")]);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_are_being_written_count_towards_the_limit_of_parked_records() {
    let mut setup = Setup::new([0]);
    setup.limits.max_parked = 100;
    setup
        .run(async {
            setup.sink.gate.set_open(false);
            for _ in 0..60 {
                setup.broker.produce(0, b"no JSON");
            }
            sleep(Duration::from_secs(1)).await;
            assert_eq!((setup.metrics.consumed.get(), setup.broker.paused().len()), (60, 0));
            for _ in 0..60 {
                setup.broker.produce(0, b"no JSON");
            }
            setup.until("the partition pauses", |s| s.broker.paused().contains(&0)).await;
            setup.sink.gate.set_open(true);
            setup.committed(0, 120).await;
            setup.until("the partition resumes", |s| s.broker.paused().is_empty()).await;
        })
        .await;
}
