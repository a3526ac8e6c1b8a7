use std::{collections::VecDeque, sync::Mutex};

use prometheus::Registry;
use shared::user::UserId;
use tokio::time::Instant;

use super::*;
use crate::{
    hub::outbox::{Item, Limits, Pushed},
    metrics::RedisUserError,
    protocol::Frame,
};

const LIMITS: Limits = Limits { capacity: 2, max_bytes: 1 << 20, max_delay: Duration::ZERO };

/// A stream in memory: replies to each read in turn; none: no reply ever.
#[derive(Clone)]
struct FakeReader(Arc<Mutex<VecDeque<UserReply<Page>>>>);

impl ReadPage for FakeReader {
    async fn page(&self, _: &PageRequest) -> UserReply<Page> {
        let page = self.0.lock().unwrap().pop_front();
        match page {
            Some(page) => page,
            None => std::future::pending().await,
        }
    }
}

fn frame(ms: u64) -> Frame {
    Frame::published(format!("{{\"id\":\"{ms}-0\",\"event\":\"e\"}}").into())
}

fn page(reaches_back: bool, ids: &[u64], more: bool) -> Page {
    let frames: Vec<Frame> = ids.iter().map(|ms| frame(*ms)).collect();
    let newest = frames.last().and_then(|frame| frame.position).unwrap_or(Position::START);
    Page {
        reaches_back,
        is_empty: ids.is_empty(),
        frames,
        newest,
        more,
        malformed: 0,
        size: StreamSize::Small,
    }
}

fn pages(replies: impl IntoIterator<Item = UserReply<Page>>) -> Pages<FakeReader> {
    let outbox = Outbox::new(LIMITS);
    outbox.begin_replay();
    Pages {
        reader: FakeReader(Arc::new(Mutex::new(replies.into_iter().collect()))),
        queue: Arc::new(ReadQueue::new(1)),
        request: PageRequest::first(UserId::new("u").unwrap(), Position::START, 1000),
        outbox,
        left: MAX_ENTRIES,
        replayed_to: None,
        metrics: Metrics::new(&Registry::new()),
    }
}

fn at(ms: u64) -> Option<Position> {
    frame(ms).position
}

#[tokio::test]
async fn pages_follow_each_other_until_the_stream_ends() {
    let mut pages = pages([Ok(page(true, &[1, 2], true)), Ok(page(true, &[3], false))]);
    let first = pages.next().await;
    assert_eq!((first.resume, first.frames.len(), first.is_last), (Resume::Complete, 2, false));
    let last = pages.next().await;
    assert_eq!((last.resume, last.frames.len(), last.is_last), (Resume::Complete, 1, true));
    assert_eq!(last.replayed_to, at(3));
}

#[tokio::test]
async fn frames_that_did_not_fit_into_the_queue_are_read_from_the_stream() {
    let mut pages = pages([Ok(page(true, &[1], false)), Ok(page(true, &[2, 3, 4], false))]);
    for ms in 2..=4 {
        assert_eq!(pages.outbox.push(Item::Frame(frame(ms))), Pushed::Queued);
    }
    assert!(!pages.next().await.is_last);
    assert_eq!(pages.next().await.replayed_to, at(4));
}

#[tokio::test]
async fn a_page_above_the_byte_limit_is_continued_by_the_next_one() {
    let mut pages = pages([Ok(page(true, &[1, 2], false)), Ok(page(true, &[2], false))]);
    pages.request.max_bytes = frame(1).text.len();
    let first = pages.next().await;
    assert_eq!((first.frames, first.is_last, first.replayed_to), (vec![frame(1)], false, at(1)));
    assert_eq!(Some(pages.request.after), at(1));
    assert!(pages.next().await.is_last);
}

#[tokio::test]
async fn a_gap_before_or_between_pages_is_incomplete() {
    let mut pages = pages([Ok(page(false, &[5], true)), Ok(page(false, &[9], false))]);
    let first = pages.next().await;
    assert_eq!((first.resume, first.replayed_to), (Resume::Incomplete, at(5)));
    assert_eq!(pages.next().await.resume, Resume::Incomplete);
}

#[tokio::test(start_paused = true)]
async fn an_error_about_the_user_ends_the_replay_as_incomplete() {
    let mut failing = pages([Ok(page(true, &[7], true)), Err(RedisUserError::WrongType)]);
    failing.next().await;
    let end = failing.next().await;
    assert_eq!((end.resume, end.is_last, end.replayed_to), (Resume::Incomplete, true, at(7)));
    assert_eq!(failing.metrics.redis_user_errors.of(RedisUserError::WrongType).get(), 1);
}

/// Waits until the connection is closed because its next page is not read.
async fn timed_out(pages: &mut Pages<FakeReader>) -> (CloseReason, Duration) {
    let (start, outbox) = (Instant::now(), pages.outbox.clone());
    tokio::select! {
        page = pages.next() => panic!("{page:?}"),
        reason = outbox.closed() => (reason, start.elapsed()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_without_a_reply_closes_the_connection_so_that_it_resumes_again() {
    let mut pages = pages([Ok(page(true, &[1], true))]);
    pages.next().await;
    assert_eq!(timed_out(&mut pages).await, (CloseReason::SubscriptionTimeout, PAGE_TIMEOUT));
}

#[tokio::test(start_paused = true)]
async fn a_resume_waits_for_those_of_others_as_long_as_their_pages_are_read() {
    let mut pages = pages([Ok(page(true, &[1], true)), Ok(page(true, &[2], false))]);
    let queue = Arc::clone(&pages.queue);
    let others = queue.permits.acquire().await.unwrap();
    let reads = async {
        for _ in 0..5 {
            sleep(QUEUE_TIMEOUT / 2).await;
            queue.record_read();
        }
        drop(others);
    };
    let (first, ()) = tokio::join!(pages.next(), reads);
    assert_eq!((first.resume, first.is_last), (Resume::Complete, false));
    let _others = queue.permits.acquire().await.unwrap();
    assert_eq!(timed_out(&mut pages).await, (CloseReason::SubscriptionTimeout, QUEUE_TIMEOUT));
}

#[tokio::test]
async fn a_client_resumes_from_the_longest_history_that_a_worker_keeps() {
    const UNREADABLE: usize = 999;
    let full = Page { malformed: UNREADABLE, ..page(true, &[1], true) };
    let full = |_| Ok(Page { frames: full.frames.clone(), ..full });
    let full = (0..MAX_HISTORY_LENGTH / (1 + UNREADABLE)).map(full);
    let mut pages = pages(full.chain([Ok(page(true, &[2], false))]));
    loop {
        let page = pages.next().await;
        assert_eq!(page.resume, Resume::Complete);
        if page.is_last {
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_that_grows_faster_than_it_is_read_is_given_up() {
    let mut pages = pages((1..=9).map(|ms| Ok(page(true, &[ms], true))));
    pages.left = 3;
    for (resume, is_last) in
        [(Resume::Complete, false), (Resume::Complete, false), (Resume::Incomplete, true)]
    {
        let page = pages.next().await;
        assert_eq!((page.resume, page.is_last), (resume, is_last));
    }
}
