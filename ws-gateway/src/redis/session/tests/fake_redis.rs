//! Redis as a session sees it, in memory.

use super::*;

/// An in-memory backend; clones share its state.
#[derive(Clone)]
pub(super) struct FakeRedis(pub(super) Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) hub: Hub,
    pub(super) users: HashMap<UserId, UserKeys>,
    pub(super) subscribed: BTreeSet<UserId>,
    /// The user whose channel may not be subscribed.
    pub(super) refused_channel: Option<UserId>,
    /// The users whose slots move with the next check.
    pub(super) moved: Vec<UserId>,
    /// Whether a slot of no subscribed user moves with the next check.
    pub(super) has_moved: bool,
    pub(super) revocations: KnownRevocations,
    /// The number of times that the revocations were loaded.
    pub(super) loads: usize,
    pub(super) is_unavailable: bool,
    pub(super) is_silent: bool,
    /// Called once by the next read of positions, to interleave it with other changes.
    pub(super) during_positions: Option<Box<dyn FnOnce() + Send>>,
    pub(super) during_check: Option<Box<dyn FnOnce() + Send>>,
    /// The size of each notification in a page.
    pub(super) frame_bytes: usize,
    /// The bytes of the largest reply to a read of pages.
    pub(super) largest_reply: usize,
}

#[derive(Default)]
pub(super) struct UserKeys {
    /// Milliseconds of the entries in the stream.
    pub(super) stream: Vec<u64>,
    /// The error of every read of this user's keys.
    pub(super) error: Option<RedisUserError>,
}

impl FakeRedis {
    /// Returns an empty Redis and the hub that it publishes to.
    pub(super) fn new(metrics: Metrics) -> (Hub, Self) {
        let mut limits = Limits::SMALL;
        limits.outbox.capacity = 64;
        let hub = Hub::new(limits, metrics);
        let state = State {
            hub: hub.clone(),
            users: HashMap::new(),
            subscribed: BTreeSet::new(),
            refused_channel: None,
            moved: Vec::new(),
            has_moved: false,
            revocations: KnownRevocations::Current,
            loads: 0,
            is_unavailable: false,
            is_silent: false,
            during_positions: None,
            during_check: None,
            frame_bytes: 0,
            largest_reply: 0,
        };
        (hub, Self(Arc::new(Mutex::new(state))))
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn publish(&self, id: &str, ms: u64) {
        let mut state = self.state();
        state.users.entry(user(id)).or_default().stream.push(ms);
        if state.subscribed.contains(id) {
            state.hub.deliver(id, frame(ms));
        }
    }

    pub(super) fn fail(&self, id: &str, error: Option<RedisUserError>) {
        self.state().users.entry(user(id)).or_default().error = error;
    }

    pub(super) fn reply<T>(
        &self,
        users: impl Iterator<Item = UserId>,
        read: impl Fn(&UserId, &[u64]) -> T,
    ) -> RedisResult<Vec<UserReply<T>>> {
        let mut state = self.state();
        if state.is_unavailable {
            return Err(disconnected());
        }
        let mut reply = |id: UserId| {
            let keys = state.users.entry(id.clone()).or_default();
            keys.error.map_or_else(|| Ok(read(&id, &keys.stream)), Err)
        };
        Ok(users.map(&mut reply).collect())
    }
}

impl Backend for FakeRedis {
    async fn subscribe(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<()>>> {
        let mut state = self.state();
        let mut subscribe = |user: &UserId| {
            if state.refused_channel.as_ref() == Some(user) {
                return Err(RedisUserError::NoPermission);
            }
            state.subscribed.insert(user.clone());
            Ok(())
        };
        Ok(users.iter().map(&mut subscribe).collect())
    }

    async fn unsubscribe(&mut self, users: &[UserId]) -> RedisResult<()> {
        self.state().subscribed.retain(|user| !users.contains(user));
        Ok(())
    }

    async fn check(&mut self) -> RedisResult<()> {
        let during = self.state().during_check.take();
        if let Some(during) = during {
            during();
        }
        if self.state().is_silent {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn follow_slots(
        &mut self,
        subscribed: &HashSet<UserId>,
    ) -> RedisResult<Option<Vec<UserId>>> {
        let mut state = self.state();
        let moved = std::mem::take(&mut state.moved);
        if !std::mem::take(&mut state.has_moved) && moved.is_empty() {
            return Ok(None);
        }
        assert!(moved.iter().all(|user| subscribed.contains(user)));
        state.subscribed.retain(|user| !moved.contains(user));
        Ok(Some(moved))
    }

    fn has_moved(&self, user: &UserId) -> bool {
        self.state().moved.contains(user)
    }

    async fn positions(&mut self, users: &[UserId]) -> RedisResult<Vec<UserReply<Position>>> {
        let during = self.state().during_positions.take();
        if let Some(during) = during {
            during();
        }
        let newest = |_: &UserId, stream: &[u64]| stream.last().map_or(at(0), |ms| at(*ms));
        self.reply(users.iter().cloned(), newest)
    }

    async fn pages(&mut self, requests: &[PageRequest]) -> RedisResult<Vec<UserReply<Page>>> {
        let by_user: HashMap<_, _> = requests.iter().map(|page| (&page.user, page)).collect();
        let frame_bytes = self.state().frame_bytes;
        let pages = self.reply(requests.iter().map(|page| page.user.clone()), |id, stream| {
            let &PageRequest { after, count, .. } = by_user[id];
            let entries = stream.iter().copied().filter(|ms| at(*ms) >= after);
            let entries: Vec<u64> = entries.take(count).collect();
            let missed = entries.iter().filter(|ms| at(**ms) > after);
            Page {
                reaches_back: entries.first().is_some_and(|ms| at(*ms) == after)
                    || (after == at(0) && stream.is_empty()),
                is_empty: entries.is_empty(),
                newest: entries.last().map_or(after, |ms| at(*ms)),
                frames: missed.map(|ms| frame_of(*ms, frame_bytes)).collect(),
                more: entries.len() == count,
                malformed: 0,
                size: StreamSize::Small,
            }
        })?;
        let bytes = pages.iter().flatten().map(Page::bytes).sum();
        let mut state = self.state();
        state.largest_reply = state.largest_reply.max(bytes);
        drop(state);
        Ok(pages)
    }

    async fn load_revocations(&mut self) -> RedisResult<KnownRevocations> {
        let mut state = self.state();
        state.loads += 1;
        Ok(state.revocations)
    }
}
