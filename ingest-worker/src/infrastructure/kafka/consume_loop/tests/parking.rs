//! Records that cannot be finished now: what waits for them, and what does not.

use super::*;

#[tokio::test(start_paused = true)]
async fn events_of_a_batch_wait_for_its_owner_in_order_and_others_do_not_wait() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.broker.produce(0, of_batch(1, "b"));
            setup.until("1 is parked", |s| s.parked(ParkReason::OwnerUnknown) == 1).await;
            for id in 2..=4 {
                setup.broker.produce(0, of_batch(id, "b"));
            }
            setup.until("2 to 4 are behind it", |s| s.parked(ParkReason::Order) == 3).await;
            setup.broker.produce(0, of_user(5, "v"));
            setup.published(&[5]).await;
            assert_eq!(setup.broker.committed(0), 0);
            setup.owners.state("b", "u");
            setup.published(&[5, 1, 2, 3, 4]).await;
            setup.committed(0, 5).await;
        })
        .await;
    assert_eq!(setup.parked(ParkReason::OwnerUnknown) + setup.parked(ParkReason::Order), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_states_the_owner_releases_those_before_it_first() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.broker.produce(0, of_batch(1, "b"));
            setup.until("1 is parked", |s| s.parked(ParkReason::OwnerUnknown) == 1).await;
            let begin = Instant::now();
            setup.broker.produce(0, of_batch_and_user(2, "b", "u"));
            setup.broker.produce(0, of_user(3, "u"));
            setup.broker.produce(0, of_batch(4, "b"));
            setup.published(&[1, 2, 3, 4]).await;
            assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
            setup.committed(0, 4).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn events_of_one_batch_of_records_stay_in_order_behind_one_without_owner() {
    let setup = Setup::new([0, 1]);
    setup
        .run(async {
            // Of one poll: the batch's second event would otherwise be published with the user's.
            for id in 1..=3 {
                setup.broker.produce(0, of_batch(id, "b"));
            }
            setup.broker.produce(0, of_user(4, "v"));
            setup.published(&[4]).await;
            assert_eq!(setup.parked(ParkReason::OwnerUnknown), 1);
            assert_eq!(setup.parked(ParkReason::Order), 2);
            setup.owners.state("b", "u");
            setup.published(&[4, 1, 2, 3]).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_without_owner_is_dead_lettered_after_the_wait_and_those_behind_it_are_published()
{
    let setup = Setup::new([0]);
    setup
        .run(async {
            let begin = Instant::now();
            setup.broker.produce(0, of_batch(1, "b"));
            setup.until("1 is parked", |s| s.parked(ParkReason::OwnerUnknown) == 1).await;
            sleep(OWNER_WAIT / 2).await;
            setup.broker.produce(0, of_batch(2, "b"));
            setup.until("1 is dead-lettered", |s| s.sink.written().len() == 1).await;
            let waited = begin.elapsed();
            assert!(
                (OWNER_WAIT..OWNER_WAIT + Duration::from_secs(2)).contains(&waited),
                "{waited:?}"
            );
            assert_eq!(setup.sink.written(), [(0, "recipient_unknown")]);
            setup.owners.state("b", "u");
            setup.published(&[2]).await;
            setup.committed(0, 2).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_user_whose_notifications_redis_refuses_holds_up_no_other_user() {
    let setup = Setup::new([0]);
    setup.owners.state("b", "u");
    setup
        .run(async {
            setup.store.refuse(Some("u"));
            setup.broker.produce(0, of_user(1, "u"));
            setup.broker.produce(0, of_user(2, "v"));
            setup.published(&[2]).await;
            setup.until("1 is parked", |s| s.parked(ParkReason::RedisRefused) == 1).await;
            // The recipient of 3 is known only after a look-up.
            setup.broker.produce(0, of_batch(3, "b"));
            setup.broker.produce(0, of_user(4, "u"));
            setup.broker.produce(0, of_user(5, "v"));
            setup.published(&[2, 5]).await;
            setup.until("3 and 4 are behind it", |s| s.parked(ParkReason::Order) == 2).await;
            sleep(Duration::from_mins(1)).await;
            assert_eq!(setup.metrics.batch_stuck.get(), 0);
            assert_eq!(setup.broker.committed(0), 0);
            setup.store.refuse(None);
            setup.published(&[2, 5, 1, 3, 4]).await;
            setup.committed(0, 5).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn parked_records_survive_an_outage_in_order() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.broker.produce(0, of_batch(1, "b"));
            setup.broker.produce(0, of_batch(2, "b"));
            setup.until("2 is parked", |s| s.parked(ParkReason::Order) == 1).await;
            setup.store.set_outage(true);
            setup.owners.state("b", "u");
            sleep(Duration::from_secs(10)).await;
            assert_eq!(setup.metrics.consumed.get(), 2);
            setup.store.set_outage(false);
            setup.published(&[1, 2]).await;
            setup.committed(0, 2).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_count_as_waiting_for_an_owner() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.broker.produce(0, of_batch(1, "b"));
            setup.until("1 is parked", |s| s.parked(ParkReason::OwnerUnknown) == 1).await;
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(2, "v"));
            setup.until("2 is stuck", |setup| setup.metrics.batch_stuck.get() == 1).await;
            setup.broker.produce(0, of_batch_and_user(3, "b", "u"));
            sleep(Duration::from_mins(10)).await;
            setup.store.gate.set_open(true);
            setup.until("1 is published", |setup| setup.store.published().contains(&1)).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn parked_records_of_a_revoked_partition_are_dropped_and_read_again() {
    let setup = Setup::new([0, 1]);
    setup
        .run(async {
            setup.broker.produce(0, of_batch(1, "b"));
            setup.broker.produce(0, of_batch(2, "b"));
            setup.broker.produce(1, of_batch(3, "c"));
            setup.until("2 is parked", |s| s.parked(ParkReason::Order) == 1).await;
            setup.until("3 is parked", |s| s.parked(ParkReason::OwnerUnknown) == 2).await;
            setup.broker.revoke(0);
            setup.until("they are dropped", |setup| setup.metrics.revoked.get() == 2).await;
            assert_eq!(setup.parked(ParkReason::OwnerUnknown), 1);
            assert_eq!(setup.parked(ParkReason::Order), 0);
            setup.owners.state("b", "u");
            setup.broker.assign(0);
            setup.published(&[1, 2]).await;
            setup.committed(0, 2).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn queued_records_of_a_revoked_partition_do_not_overtake_one_that_is_refused() {
    let setup = Setup::new([0]);
    setup
        .run(async {
            setup.store.gate.set_open(false);
            setup.broker.produce(0, of_user(1, "u"));
            setup.until("the batch is stuck", |setup| setup.metrics.batch_stuck.get() == 1).await;
            setup.broker.produce(0, of_user(2, "u"));
            setup.until("2 is queued", |setup| setup.metrics.consumed.get() == 2).await;
            setup.broker.revoke(0);
            setup.until("2 is dropped", |setup| setup.metrics.revoked.get() == 1).await;
            setup.store.refuse(Some("u"));
            setup.store.gate.set_open(true);
            setup.until("1 is dropped", |setup| setup.metrics.revoked.get() == 2).await;
            setup.store.refuse(None);
            sleep(Duration::from_secs(10)).await;
            assert!(setup.store.published().is_empty());
            setup.broker.assign(0);
            setup.published(&[1, 2]).await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn too_many_parked_records_pause_their_partitions_only() {
    let mut setup = Setup::new([0, 1]);
    setup.limits.max_parked = 100;
    setup
        .run(async {
            for id in 1..=2_000 {
                setup.broker.produce(0, of_batch(id, "b"));
            }
            setup.until("the partition pauses", |s| s.broker.paused().contains(&0)).await;
            let consumed = setup.metrics.consumed.get();
            assert!((100..=1_000).contains(&consumed), "{consumed} are read");
            setup.broker.produce(1, of_user(5_000, "v"));
            setup.published(&[5_000]).await;
            setup.owners.state("b", "u");
            setup.until("all are published", |setup| setup.store.published().len() == 2_001).await;
            assert!(setup.store.published()[1..].is_sorted());
            setup.committed(0, 2_000).await;
            assert!(setup.broker.paused().is_empty());
        })
        .await;
}
