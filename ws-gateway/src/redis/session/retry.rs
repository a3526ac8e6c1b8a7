//! Tries again what Redis refused for one user: the subscription to the channel, and the position.

use redis::RedisResult;
use shared::user::UserId;

use super::{
    super::{backend::Backend, retries::Retry},
    Session,
    gap::MAX_STREAMS,
};
use crate::hub::{Resync, Subscribed, Subscription};

impl<B: Backend> Session<B> {
    /// Serves a user whose position Redis does not return: live frames, but no resume.
    pub(super) fn go_live_without_position(&mut self, subscription: Subscription) {
        while let Subscribed::ReadFrom(_) = self.hub.mark_subscribed(&subscription) {
            self.hub.report_gap(&subscription, Resync::Unknown);
        }
        self.retries.schedule(Retry::new(subscription));
    }

    /// Tries again the users that are due.
    pub(super) async fn retry(&mut self) -> RedisResult<()> {
        let due = self.retries.take_due(MAX_STREAMS).into_iter();
        let (refused, subscribed): (Vec<Retry>, Vec<Retry>) =
            due.partition(|retry| self.refused.remove(&retry.subscription));
        if !refused.is_empty() {
            self.retry_channels(refused).await?;
        }
        if !subscribed.is_empty() {
            self.retry_positions(subscribed).await?;
        }
        self.catch_up().await
    }

    pub(super) fn retry_channel(&mut self, retry: Retry) {
        self.refused.insert(retry.subscription.clone());
        self.retries.schedule(retry);
    }

    /// Subscribes to channels that Redis refused.
    async fn retry_channels(&mut self, due: Vec<Retry>) -> RedisResult<()> {
        let users = due.iter().map(|retry| retry.subscription.user.clone());
        let plan = self.hub.plan(users);
        let refused = self.subscribe(plan.subscribe).await?;
        for retry in due.into_iter().filter(|retry| refused.contains(&retry.subscription)) {
            self.retry_channel(retry);
        }
        Ok(())
    }

    /// Reads the positions of users that have none.
    async fn retry_positions(&mut self, due: Vec<Retry>) -> RedisResult<()> {
        let due = due.into_iter().filter(|retry| self.hub.lacks_position(&retry.subscription));
        let due: Vec<Retry> = due.collect();
        let users: Vec<UserId> = due.iter().map(|retry| retry.subscription.user.clone()).collect();
        let positions = self.delivered_positions(&users).await?;
        for (retry, position) in due.into_iter().zip(positions) {
            match self.counted(&retry.subscription, position) {
                Some(position) => self.hub.set_start_position(&retry.subscription, position),
                None => self.retries.schedule(retry),
            }
        }
        Ok(())
    }
}
