//! Closes the gaps of users from their streams, page by page.

use redis::RedisResult;
use shared::user::UserId;

use super::{
    super::{
        backend::Backend,
        history::{Page, PageRequest},
        retries::Retry,
    },
    Session,
    gap::Gap,
};
use crate::{
    hub::{Resync, Subscribed},
    metrics::GapRepair,
};

impl<B: Backend> Session<B> {
    /// Reads and delivers the next pages of some gaps, in one round trip.
    pub(super) async fn read_gaps(&mut self) -> RedisResult<()> {
        let mut round = self.gaps.next_round();
        // The others have disconnected.
        round.retain(|gap| self.hub.has(&gap.subscription));
        if round.is_empty() {
            return Ok(());
        }
        let requests: Vec<PageRequest> = round.iter().map(|gap| gap.request.clone()).collect();
        let pages = self.backend.pages(&requests).await?;
        let mut read = Vec::with_capacity(round.len());
        for (gap, page) in round.into_iter().zip(pages) {
            match self.counted(&gap.subscription, page) {
                Some(page) => read.push((gap, page)),
                None => self.give_up(gap),
            }
        }
        self.report_lost(&mut read).await?;
        for (gap, page) in read {
            self.gaps.record(&gap, &page);
            let rest = self.deliver(gap, &page);
            self.gaps.extend(rest);
        }
        // Connections drain their queues before more is added.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Reports gaps before the rest of the stream is delivered.
    async fn report_lost(&mut self, read: &mut [(Gap, Page)]) -> RedisResult<()> {
        let mut ended: Vec<&mut Gap> = Vec::new();
        for (gap, page) in read.iter_mut().filter(|(_, page)| !page.reaches_back) {
            gap.is_lost = true;
            if page.is_empty {
                // The stream ended before the position: new positions may be smaller.
                ended.push(gap);
            } else {
                self.hub.report_gap(&gap.subscription, Resync::Continue);
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        let users: Vec<UserId> = ended.iter().map(|gap| gap.subscription.user.clone()).collect();
        let positions = self.delivered_positions(&users).await?;
        for (gap, position) in ended.into_iter().zip(positions) {
            let position = self.counted(&gap.subscription, position);
            let resync = position.map_or(Resync::Unknown, Resync::At);
            self.hub.report_gap(&gap.subscription, resync);
            if resync == Resync::Unknown {
                self.retries.schedule(Retry::new(gap.subscription.clone()));
            }
        }
        Ok(())
    }

    /// Delivers a page. Returns the gap again if there is more to read.
    fn deliver(&self, gap: Gap, page: &Page) -> Option<Gap> {
        self.metrics.malformed_frames.inc_by(page.malformed as u64);
        if gap.is_repair {
            self.metrics.messages_repaired.inc_by(page.frames.len() as u64);
        }
        self.hub.replay(&gap.subscription, &page.frames);
        if page.more {
            return Some(gap.rest(page.newest, page));
        }
        if let Subscribed::ReadFrom(position) = self.hub.mark_subscribed(&gap.subscription) {
            return Some(gap.rest(position, page));
        }
        if gap.is_repair {
            let lost = gap.is_lost;
            let result = if lost { GapRepair::Incomplete } else { GapRepair::Complete };
            self.metrics.gaps.of(result).inc();
        }
        None
    }

    /// Ends the repair of a user whose stream Redis does not return.
    fn give_up(&mut self, gap: Gap) {
        if gap.is_repair {
            self.metrics.gaps.of(GapRepair::Incomplete).inc();
        }
        self.hub.report_gap(&gap.subscription, Resync::Unknown);
        self.go_live_without_position(gap.subscription);
    }
}
