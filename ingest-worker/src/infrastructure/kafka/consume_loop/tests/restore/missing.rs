//! Watermarks that are missing: what has survived decides what is published.

use super::*;

/// Produces three records and waits until they are committed.
async fn commit_three(setup: &Setup) {
    for id in 1..=3 {
        setup.broker.produce(0, of_user(id, "u"));
    }
    setup.committed(0, 3).await;
}

/// Runs a worker until it has finished and committed three records.
async fn finish_three(setup: &Setup) {
    setup.run(commit_three(setup)).await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_rebuilds_histories_and_publishes_nothing() {
    let setup = Setup::new([0]);
    let script = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.broker.produce(0, of_user(2, "u"));
        setup.published(&[1, 2]).await;
        setup.store.fail_over_to(Data::default());
        setup.broker.produce(0, of_user(3, "u"));
        setup.published(&[1, 2, 3]).await;
        setup.until("the claims are restored", |setup| setup.metrics.rewound.get() >= 2).await;
        // Their claims are back.
        setup.broker.produce(0, of_user(2, "u"));
        setup.committed(0, 4).await;
        assert_eq!(setup.store.published(), [1, 2, 3]);
    };
    setup.run(script).await;
    assert_eq!(rewinds(&setup, RewindReason::Missing), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flush_in_the_middle_of_the_first_call_after_a_flush_is_noticed() {
    let setup = Setup::new([0]);
    let script = async {
        commit_three(&setup).await;
        sleep(SYNC).await;
        setup.store.fail_over_to(Data::default());
        setup.store.lose_after(2);
        sleep(3 * SYNC).await;
        // Their claims are back.
        setup.broker.produce(0, of_user(1, "u"));
        setup.committed(0, 4).await;
    };
    setup.run(script).await;
    assert_eq!(setup.store.published(), [1, 2, 3]);
    assert_eq!(rewinds(&setup, RewindReason::Missing), 2);
}

#[tokio::test(start_paused = true)]
async fn what_another_worker_has_rebuilt_is_not_published_after_a_second_flush() {
    let setup = Setup::new([0]);
    let script = async {
        commit_three(&setup).await;
        sleep(SYNC).await;
        setup.store.refuse(Some("u"));
        setup.store.fail_over_to(Data::default());
        setup.until("it is parked", |setup| setup.parked(ParkReason::RedisRefused) == 3).await;
        // The other one takes this worker for dead; what it restored is lost at once.
        setup.store.fail_over_to(Data::with_watermark(&Arc::from("g/t/0"), "other.1 3"));
        setup.until("it is noticed", |setup| rewinds(setup, RewindReason::Behind) == 1).await;
        setup.store.refuse(None);
        setup.until("it is restored", |setup| setup.parked(ParkReason::RedisRefused) == 0).await;
        sleep(SYNC).await;
    };
    setup.run(script).await;
    assert_eq!(setup.store.published(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_behind_an_unfinished_record_rebuilds_what_was_finished_and_no_dead_letter() {
    for parked_at in [0, 1] {
        let setup = Setup::new([0]);
        let script = async {
            if parked_at == 1 {
                setup.broker.produce(0, of_user(1, "u"));
            }
            setup.broker.produce(0, of_batch(2, "b"));
            setup.until("2 is parked", |s| s.parked(ParkReason::OwnerUnknown) == 1).await;
            setup.broker.produce(0, b"not JSON");
            setup.broker.produce(0, of_user(3, "u"));
            setup.until("3 is published", |s| s.store.published().ends_with(&[3])).await;
            setup.until("a dead letter is written", |s| !s.sink.written().is_empty()).await;
            sleep(SYNC).await;
            let before = setup.store.published();
            setup.store.fail_over_to(Data::default());
            sleep(2 * SYNC).await;
            assert_eq!(rewinds(&setup, RewindReason::Missing), 1);
            // The claims are back, and the parked record is published once its owner is known.
            setup.broker.produce(0, of_user(3, "u"));
            setup.owners.state("b", "u");
            setup.published(&[&before[..], &[2]].concat()).await;
            setup.committed(0, parked_at + 4).await;
        };
        setup.run(script).await;
        assert_eq!(setup.sink.written(), [(parked_at + 1, "not_json")]);
    }
}

/// As after an upgrade: its name lacks the id of the topic, and its value the time.
#[tokio::test(start_paused = true)]
async fn a_watermark_of_an_earlier_version_is_read_and_replaced() {
    for (stored, published) in [("x.1 1", &[1, 2, 3, 2, 3][..]), ("x.1 3", &[1, 2, 3])] {
        let setup = Setup::new([0]);
        setup.broker.set_topic_id("present");
        finish_three(&setup).await;
        let data = Data::with_watermark(&Arc::from("g/t/0"), stored);
        setup.store.fail_over_to(data);
        setup.broker.assign(0);
        setup.run(sleep(2 * SYNC)).await;
        assert_eq!(setup.store.published(), published, "{stored}");
        assert!(setup.store.watermark("g/t/0/present").ends_with(" 3 at 5"));
        assert_eq!(rewinds(&setup, RewindReason::Missing), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watermark_of_a_former_topic_is_none_of_this_one() {
    let setup = Setup::new([0]);
    setup.broker.set_topic_id("present");
    let script = async {
        commit_three(&setup).await;
        sleep(SYNC).await;
        let former = Data::with_watermark(&Arc::from("g/t/0"), "x.1 100 topic-id former");
        setup.store.fail_over_to(former);
        setup.until("it is rebuilt", |setup| setup.metrics.rewound.get() == 3).await;
        sleep(SYNC).await;
        assert!(setup.store.watermark("g/t/0/present").ends_with(" 3 at 5"));
        assert_eq!(setup.store.watermark("g/t/0"), "x.1 100 topic-id former");
    };
    setup.run(script).await;
    assert_eq!(rewinds(&setup, RewindReason::Missing), 1);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_again_is_no_loss_of_redis_until_its_own_watermark_is_lost() {
    let setup = Setup::new([0]);
    setup.broker.set_topic_id("former");
    let script = async {
        setup.broker.produce(0, of_user(1, "u"));
        setup.committed(0, 1).await;
        sleep(SYNC).await;
        setup.broker.create_again("present");
        for id in 2..=4 {
            setup.broker.produce(0, of_user(id, "u"));
        }
        // The first one is too old, below the position in the former topic.
        setup.published(&[1, 3, 4]).await;
        setup.committed(0, 3).await;
        sleep(SYNC).await;
        assert!(setup.store.watermark("g/t/0/present").ends_with(" 3 at 5"));
        assert_eq!(rewinds(&setup, RewindReason::Missing), 0);
        setup.store.fail_over_to(Data::default());
        setup.until("it is rebuilt", |setup| setup.metrics.rewound.get() > 0).await;
    };
    setup.run(script).await;
    assert_eq!(rewinds(&setup, RewindReason::Missing), 1);
}

/// The client may ignore its leaders, so that only the next worker reads it.
#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_again_is_reread_also_by_the_next_owner() {
    let setup = Setup::new([0]);
    setup.broker.set_topic_id("former");
    let script = async {
        for id in 1..=3 {
            setup.broker.produce(0, of_user(id, "u"));
        }
        setup.committed(0, 3).await;
        setup.broker.create_again("present");
        sleep(2 * SYNC).await;
    };
    setup.run(script).await;
    assert!(setup.store.watermark("g/t/0/present").ends_with(" 0 reread-until 3 at 5"));
    setup.broker.set_topic_id("present");
    setup.broker.forget_commits();
    setup.broker.assign(0);
    let script = async {
        for id in 4..=7 {
            setup.broker.produce(0, of_user(id, "u"));
        }
        // The first ones are too old, below the position in the former topic.
        setup.published(&[1, 2, 3, 7]).await;
        setup.committed(0, 4).await;
    };
    setup.run(script).await;
    assert_eq!(rewinds(&setup, RewindReason::Missing), 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_without_offsets_publishes_nothing_again_that_it_has_finished_long_ago() {
    let setup = Setup::new([0]);
    finish_three(&setup).await;
    let source = Arc::from("g/t/0");
    let without_claims = Data::with_watermark(&source, &setup.store.watermark(&source));
    setup.store.fail_over_to(without_claims);
    setup.broker.forget_commits();
    setup.broker.assign(0);
    let after = async {
        setup.broker.produce(0, of_user(4, "u"));
        setup.published(&[1, 2, 3, 4]).await;
        setup.committed(0, 4).await;
    };
    setup.run(after).await;
}

/// The last offsets may not be committed, or all of them be deleted.
#[tokio::test(start_paused = true)]
async fn a_rebuild_is_completed_without_publishing_what_is_not_committed() {
    for committed in [None, Some(1)] {
        let setup = Setup::new([0]);
        finish_three(&setup).await;
        let rebuilding = Data::with_watermark(&Arc::from("g/t/0"), "x.1 0 history-until 3 5 at 5");
        setup.store.fail_over_to(rebuilding);
        setup.broker.forget_commits();
        if let Some(offset) = committed {
            setup.broker.commit(0, offset);
        }
        setup.broker.assign(0);
        let after = async {
            setup.broker.produce(0, of_user(4, "u"));
            setup.committed(0, 4).await;
            // The claims are back.
            setup.broker.produce(0, of_user(2, "u"));
            setup.committed(0, 5).await;
        };
        setup.run(after).await;
        assert_eq!(setup.store.published(), [1, 2, 3, 4], "{committed:?}");
        assert_eq!(rewinds(&setup, RewindReason::Behind), 1);
        assert_eq!(setup.metrics.rewound.get(), 3);
    }
}

/// A replica that has not received the first watermark looks like an empty server, but for the
/// histories: clients may have resumed in them, and been answered that nothing is missing.
#[tokio::test(start_paused = true)]
async fn what_is_lost_with_the_first_watermark_is_published_only_where_histories_survive() {
    for (data, published) in [(Data::with_histories(), &[1, 1, 2][..]), (Data::default(), &[1, 2])]
    {
        let setup = Setup::new([0]);
        let script = async {
            setup.broker.produce(0, of_user(1, "u"));
            setup.published(&[1]).await;
            setup.committed(0, 1).await;
            setup.store.fail_over_to(data);
            setup.until("it is restored", |setup| setup.metrics.rewound.get() == 1).await;
            setup.broker.produce(0, of_user(2, "u"));
            setup.published(published).await;
        };
        setup.run(script).await;
        assert_eq!(rewinds(&setup, RewindReason::Missing), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_before_the_first_commit_is_restored() {
    let setup = Setup::new([0]);
    let script = async {
        // A parked record holds the commit where it was.
        setup.broker.produce(0, of_batch(1, "b"));
        setup.broker.produce(0, of_user(2, "u"));
        setup.published(&[2]).await;
        sleep(SYNC).await;
        setup.broker.forget_commits();
        setup.store.fail_over_to(Data::with_histories());
        setup.published(&[2, 2]).await;
    };
    setup.run(script).await;
    assert_eq!(rewinds(&setup, RewindReason::Missing), 1);
}

/// The next owner does not know when Redis had its data, but what has survived by now.
#[tokio::test(start_paused = true)]
async fn what_is_lost_while_no_worker_runs_is_published_where_histories_survive() {
    for (data, published) in [(Data::with_histories(), &[1, 1][..]), (Data::default(), &[1])] {
        let setup = Setup::new([0]);
        let before = async {
            setup.broker.produce(0, of_user(1, "u"));
            setup.committed(0, 1).await;
        };
        setup.run(before).await;
        setup.store.fail_over_to(data);
        setup.broker.assign(0);
        setup.run(setup.until("it is restored", |s| s.metrics.rewound.get() == 1)).await;
        assert_eq!(setup.store.published(), published);
    }
}
