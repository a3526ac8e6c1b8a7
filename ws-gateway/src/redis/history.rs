//! The history of a client that resumes: read page by page as its socket drains, so that the
//! memory of a resume is bounded whatever the client missed.

mod page;

use std::{
    mem,
    pin::pin,
    slice::from_ref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream;
use shared::{backoff::Backoff, keys::MAX_HISTORY_LENGTH};
use tokio::{
    sync::{Semaphore, SemaphorePermit, watch},
    time::{sleep, timeout},
};
use tracing::debug;

use super::{backend::read_pages, reply::UserReply, stream_reader::StreamReader};
use crate::{
    hub::{Replay, ReplayPage, ResumeFrom, outbox::Outbox, registration::Registration},
    metrics::Metrics,
    protocol::{CloseReason, Position, Resume},
};
pub(super) use page::{Page, PageRequest, StreamSize};

/// The maximum number of entries read for one client: twice as many as a worker keeps at most. A
/// stream that is longer grows faster than the client reads it.
const MAX_ENTRIES: usize = 2 * MAX_HISTORY_LENGTH;

/// How long a page may take; then the connection is closed, so that the client resumes again. An
/// incomplete resume would have it reload everything, although the history may be there.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The delays between attempts to read a page. The session detects a dead connection within
/// seconds, and another session replaces it.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));

/// The maximum number of pages that are read at the same time: no more than there are pooled
/// connections by default, so that a read does not fail while it waits for one.
const MAX_READS: usize = 8;

/// How long a resume waits for those of other clients while none of their pages is read; then the
/// connection is closed. While pages are read, it waits for its turn.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads pages of a user's stream.
///
/// `page` returns once Redis has replied, however long that takes: an implementation retries
/// errors of the connection. An error in the result is about the user's keys and stays.
pub(super) trait ReadPage: Clone + Send + Sync + 'static {
    /// Reads a page.
    fn page(&self, request: &PageRequest) -> impl Future<Output = UserReply<Page>> + Send;
}

/// Reads with the reader of the present session.
#[derive(Clone, Debug)]
pub(super) struct CurrentReader(watch::Receiver<Option<StreamReader>>);

impl ReadPage for CurrentReader {
    async fn page(&self, request: &PageRequest) -> UserReply<Page> {
        let (mut readers, mut backoff) = (self.0.clone(), BACKOFF);
        loop {
            let reader = readers.wait_for(Option::is_some).await.ok().and_then(|r| r.clone());
            let Some(StreamReader { connection, keys, clock }) = reader else {
                // The subscriber has ended: the gateway shuts down and closes the connection.
                std::future::pending().await
            };
            match read_pages(&connection, &keys, &clock, from_ref(request)).await {
                Ok(mut pages) if !pages.is_empty() => return pages.swap_remove(0),
                Ok(_) => {}
                Err(error) => {
                    debug!(%error, user.id = %request.user, "reading history failed, retrying");
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }
}

/// The histories of all users. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct History {
    reader: CurrentReader,
    queue: Arc<ReadQueue>,
    /// The maximum number of bytes in a page; a single larger frame is a page as well.
    max_bytes: usize,
    metrics: Metrics,
}

impl History {
    /// Returns histories that are read with `reader`, in pages of at most `max_bytes`.
    #[must_use]
    pub(crate) fn new(
        reader: watch::Receiver<Option<StreamReader>>,
        max_bytes: usize,
        metrics: Metrics,
    ) -> Self {
        let queue = Arc::new(ReadQueue::new(MAX_READS));
        Self { reader: CurrentReader(reader), queue, max_bytes, metrics }
    }

    /// Returns whether there is a session with Redis.
    #[must_use]
    pub(crate) fn is_available(&self) -> bool {
        self.reader.0.borrow().is_some()
    }

    /// Returns what the connection is sent before live frames. Frames that are published meanwhile
    /// wait in its queue; if they are too many, they are read from the stream as well.
    pub(crate) fn replay(&self, registration: &mut Registration, from: ResumeFrom) -> Replay {
        let confirmed = registration.confirmed();
        let after = match from {
            ResumeFrom::Position(position) => position,
            ResumeFrom::Now => return only(confirmed, Resume::None),
            ResumeFrom::Invalid => return only(confirmed, Resume::Incomplete),
        };
        registration.outbox().begin_replay();
        let pages = Pages {
            reader: self.reader.clone(),
            queue: Arc::clone(&self.queue),
            request: PageRequest::first(registration.user().clone(), after, self.max_bytes),
            outbox: registration.outbox().clone(),
            left: MAX_ENTRIES,
            replayed_to: None,
            metrics: self.metrics.clone(),
        };
        let first = Some((Some(confirmed), pages));
        Box::pin(stream::unfold(first, |state| async move {
            let (confirmed, mut pages) = state?;
            if let Some(confirmed) = confirmed {
                confirmed.await;
            }
            let page = pages.next().await;
            let rest = (!page.is_last).then_some((None, pages));
            Some((page, rest))
        }))
    }
}

fn only(confirmed: impl Future<Output = ()> + Send + 'static, resume: Resume) -> Replay {
    Box::pin(stream::once(async move {
        confirmed.await;
        ReplayPage::without_history(resume)
    }))
}

/// Limits how many pages are read at the same time; those who wait are served in order.
#[derive(Debug)]
struct ReadQueue {
    permits: Semaphore,
    /// The number of pages that were read.
    read: AtomicU64,
}

impl ReadQueue {
    fn new(permits: usize) -> Self {
        Self { permits: Semaphore::new(permits), read: AtomicU64::new(0) }
    }

    /// Waits for a permit; none if no page is read for [`QUEUE_TIMEOUT`].
    async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        let mut permit = pin!(self.permits.acquire());
        let mut read = self.read.load(Ordering::Relaxed);
        loop {
            if let Ok(permit) = timeout(QUEUE_TIMEOUT, permit.as_mut()).await {
                return permit.ok();
            }
            let before = mem::replace(&mut read, self.read.load(Ordering::Relaxed));
            if read == before {
                return None;
            }
        }
    }

    fn record_read(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }
}

/// The pages of one client.
struct Pages<R> {
    reader: R,
    queue: Arc<ReadQueue>,
    /// The next page.
    request: PageRequest,
    outbox: Outbox,
    /// The number of entries that may still be read.
    left: usize,
    /// The position of the newest frame in earlier pages.
    replayed_to: Option<Position>,
    metrics: Metrics,
}

impl<R: ReadPage> Pages<R> {
    /// Reads the next page. It is the last when the stream has ended and the queue continues it,
    /// or when the rest cannot be read. Does not return if Redis does not reply in time: the
    /// connection is closed.
    async fn next(&mut self) -> ReplayPage {
        let queue = Arc::clone(&self.queue);
        let Some(_permit) = queue.permit().await else {
            self.time_out("no other page was read in time").await
        };
        let page = match timeout(PAGE_TIMEOUT, self.reader.page(&self.request)).await {
            Ok(Ok(mut page)) => {
                page.truncate(self.request.max_bytes);
                page
            }
            Ok(Err(kind)) => {
                self.metrics.redis_user_errors.of(kind).inc();
                let error = kind.label();
                debug!(user.id = %self.request.user, error, "history cannot be read");
                let replayed_to = self.replayed_to;
                return ReplayPage {
                    replayed_to,
                    ..ReplayPage::without_history(Resume::Incomplete)
                };
            }
            Err(_) => self.time_out("Redis did not return the page in time").await,
        };
        queue.record_read();
        self.metrics.malformed_frames.inc_by(page.malformed as u64);
        self.left = self.left.saturating_sub(page.frames.len() + page.malformed);
        self.request = self.request.clone().next(&page);
        let ends = !page.more && self.outbox.end_replay();
        let gives_up = !ends && self.left == 0;
        let is_complete = page.reaches_back && !gives_up;
        self.outbox.remember(&page.frames);
        // The client's own position may be ahead of everything that will be published.
        let newest = page.frames.last().and_then(|frame| frame.position);
        let newest = if page.reaches_back { Some(page.newest) } else { newest };
        self.replayed_to = self.replayed_to.max(newest);
        ReplayPage {
            resume: if is_complete { Resume::Complete } else { Resume::Incomplete },
            replayed_to: self.replayed_to,
            frames: page.frames,
            is_last: ends || gives_up,
            read: None,
        }
    }

    async fn time_out(&self, reason: &str) -> ! {
        debug!(user.id = %self.request.user, reason, "history was not read in time");
        self.outbox.close(CloseReason::SubscriptionTimeout);
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
