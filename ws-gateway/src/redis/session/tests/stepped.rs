//! Redis as a session sees it, whose calls continue step by step.

use std::{future::poll_fn, sync::MutexGuard, task::Poll};

use super::*;

/// The calls of a session, each of which waits until a step lets it continue.
#[derive(Clone)]
pub(super) struct Stepped {
    pub(super) redis: FakeRedis,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Whether a call waits.
    pub(super) waits: bool,
    /// Whether it may continue.
    pub(super) may_continue: bool,
    /// What the session has done since it last waited for the hub: part of the state.
    pub(super) log: Vec<String>,
}

impl Stepped {
    pub(super) fn new(redis: FakeRedis) -> Self {
        Self { redis, calls: Arc::default() }
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap()
    }

    /// Forgets the calls of a session that has ended.
    pub(super) fn reset(&self) {
        *self.calls() = Calls::default();
    }

    fn wait(&self, what: String) {
        let mut calls = self.calls();
        calls.log.push(what);
        calls.waits = true;
    }

    fn try_continue(&self) -> Poll<()> {
        let mut calls = self.calls();
        if !std::mem::take(&mut calls.may_continue) {
            return Poll::Pending;
        }
        calls.waits = false;
        Poll::Ready(())
    }

    async fn step(&self, what: String) {
        self.wait(what);
        poll_fn(|_| self.try_continue()).await;
    }
}

/// Each call takes effect in one step, and returns in the next.
impl Backend for Stepped {
    async fn subscribe(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<()>>> {
        self.step(format!("subscribe {users:?}")).await;
        let reply = self.redis.subscribe(users).await;
        self.step(format!("{reply:?}")).await;
        reply
    }

    async fn unsubscribe(&mut self, users: &[UserId]) -> RedisResult<()> {
        self.step(format!("unsubscribe {users:?}")).await;
        let reply = self.redis.unsubscribe(users).await;
        self.step(format!("{reply:?}")).await;
        reply
    }

    async fn check(&mut self) -> RedisResult<()> {
        Ok(())
    }

    async fn follow_slots(&mut self, _: &HashSet<UserId>) -> RedisResult<Option<Vec<UserId>>> {
        Ok(None)
    }

    fn has_moved(&self, _: &UserId) -> bool {
        false
    }

    async fn positions(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<Position>>> {
        self.step(format!("positions {users:?}")).await;
        let reply = self.redis.positions(users).await;
        self.step(format!("{reply:?}")).await;
        reply
    }

    async fn pages(&mut self, requests: &[PageRequest]) -> RedisResult<Vec<UserReply<Page>>> {
        self.step(format!("pages {requests:?}")).await;
        let reply = self.redis.pages(requests).await;
        self.step(format!("{reply:?}")).await;
        reply
    }

    async fn load_revocations(&mut self) -> RedisResult<KnownRevocations> {
        Ok(KnownRevocations::Current)
    }
}
