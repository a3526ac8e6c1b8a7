//! Every order in which connections of a user, a session and Redis can act on the hub. The session
//! is polled as one step, and each of its calls takes effect and returns in a step each; every
//! sequence of steps is tried, each state once.

use std::{
    pin::Pin,
    task::{Context, Waker},
};

use super::{stepped::Stepped, *};
use crate::exhaustive::{self, Woken, explore};

const USER: &str = "u";
/// The stream holds entry 1 from the start, and these are published.
const PUBLISHED: [u64; 2] = [2, 3];
const CONNECTIONS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    /// The oldest connection ends.
    Close,
    Publish,
    /// A frame arrives at the gateway.
    Push,
    /// The session continues.
    Poll,
    /// A call of the session takes effect or returns.
    Redis,
    /// The session ends and the next one begins.
    Lose,
}

const STEPS: [Step; 7] =
    [Step::Connect, Step::Close, Step::Publish, Step::Push, Step::Poll, Step::Redis, Step::Lose];

struct Connection {
    registration: Registration,
    confirmation: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The position with which it was confirmed.
    position: Option<Position>,
}

struct System {
    metrics: Metrics,
    hub: Hub,
    backend: Stepped,
    session: Pin<Box<dyn Future<Output = RedisError>>>,
    woken: Arc<Woken>,
    open: VecDeque<Connection>,
    connected: usize,
    published: usize,
    pushed: VecDeque<u64>,
    is_lost: bool,
}

impl System {
    fn new(metrics: &Metrics) -> Self {
        let (hub, redis) = FakeRedis::new(metrics.clone());
        redis.state().users.entry(user(USER)).or_default().stream.push(1);
        let (backend, woken) = (Stepped::new(redis), Arc::<Woken>::default());
        woken.set(true);
        Self {
            session: session(&backend, &hub, metrics),
            metrics: metrics.clone(),
            hub,
            backend,
            woken,
            open: VecDeque::new(),
            connected: 0,
            published: 0,
            pushed: VecDeque::new(),
            is_lost: false,
        }
    }

    fn can(&self, step: Step) -> bool {
        match step {
            Step::Connect => self.connected < CONNECTIONS,
            Step::Close => !self.open.is_empty(),
            Step::Publish => self.published < PUBLISHED.len(),
            Step::Push => !self.pushed.is_empty(),
            Step::Poll => self.woken.get(),
            Step::Redis => {
                let calls = self.backend.calls();
                calls.waits && !calls.may_continue
            }
            Step::Lose => !self.is_lost,
        }
    }

    fn poll(&mut self) {
        self.woken.set(false);
        let waker = self.woken.waker();
        assert!(self.session.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let mut calls = self.backend.calls();
        if !calls.waits {
            calls.log.clear();
        }
        drop(calls);
        self.confirm();
    }

    fn confirm(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for connection in self.open.iter_mut().filter(|open| open.position.is_none()) {
            if connection.confirmation.as_mut().poll(&mut context).is_ready() {
                connection.position = Some(connection.registration.position());
            }
        }
    }

    /// Returns whether neither the session nor Redis has anything left to do.
    fn is_quiet(&self) -> bool {
        ![Step::Push, Step::Poll, Step::Redis].into_iter().any(|step| self.can(step))
    }
}

impl exhaustive::System for System {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        STEPS.into_iter().filter(|step| self.can(*step)).collect()
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Connect => {
                self.connected += 1;
                let id = Uuid::from_u128(self.connected as u128);
                let mut registration = self.hub.register(&user(USER), id).unwrap();
                let confirmation = Box::pin(registration.confirmed());
                self.open.push_back(Connection { registration, confirmation, position: None });
            }
            Step::Close => drop(self.open.pop_front()),
            Step::Publish => {
                let ms = PUBLISHED[self.published];
                self.published += 1;
                let mut state = self.backend.redis.state();
                state.users.entry(user(USER)).or_default().stream.push(ms);
                if state.subscribed.contains(USER) {
                    self.pushed.push_back(ms);
                }
            }
            Step::Push => self.hub.deliver(USER, frame(self.pushed.pop_front().unwrap())),
            Step::Poll => self.poll(),
            Step::Redis => {
                self.backend.calls().may_continue = true;
                self.woken.set(true);
            }
            Step::Lose => {
                self.is_lost = true;
                self.pushed.clear();
                self.backend.redis.state().subscribed.clear();
                let _users = self.hub.mark_disconnected();
                self.backend.reset();
                self.session = session(&self.backend, &self.hub, &self.metrics);
                self.woken.set(true);
            }
        }
    }

    fn fingerprint(&self) -> String {
        let state = self.backend.redis.state();
        let stream = state.users.get(USER).map(|keys| keys.stream.len());
        let open: Vec<_> = self.open.iter().map(|open| open.position).collect();
        format!(
            "{} {:?} {:?} {stream:?} {:?} {open:?} {} {:?} {}",
            self.hub.fingerprint(),
            self.backend.calls(),
            state.subscribed,
            self.woken,
            self.connected,
            self.pushed,
            self.is_lost,
        )
    }

    /// Checks that no open connection misses anything.
    fn check(&self, steps: &[Step]) {
        if !self.is_quiet() {
            return;
        }
        let is_subscribed = self.backend.redis.state().subscribed.contains(USER);
        assert_eq!(is_subscribed, !self.open.is_empty(), "subscribed after {steps:?}");
        for connection in &self.open {
            let position = connection.position.unwrap_or_else(|| panic!("stuck after {steps:?}"));
            let frames = received(&connection.registration);
            let number = |text: &String| text.parse::<u64>().ok();
            let frames: Option<Vec<u64>> = frames.iter().map(number).collect();
            let frames = frames.unwrap_or_else(|| panic!("a gap after {steps:?}"));
            assert!(frames.is_sorted_by(|a, b| a < b), "{frames:?} after {steps:?}");
            let later = |ms: &&u64| at(**ms) > position;
            let expected: Vec<&u64> = PUBLISHED[..self.published].iter().filter(later).collect();
            let received: Vec<&u64> = frames.iter().filter(later).collect();
            assert_eq!(received, expected, "after {position} and {steps:?}");
        }
    }
}

fn session(
    backend: &Stepped,
    hub: &Hub,
    metrics: &Metrics,
) -> Pin<Box<dyn Future<Output = RedisError>>> {
    let lost = Arc::default();
    let mut session = Session::new(backend.clone(), hub.clone(), metrics.clone(), lost);
    Box::pin(async move {
        match session.start().await {
            Ok(()) => session.run().await,
            Err(error) => error,
        }
    })
}

#[test]
fn no_order_of_connects_calls_and_frames_loses_or_repeats_a_frame() {
    // Its clock only: a runtime that runs would defer wake-ups.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    let metrics = Metrics::new(&Registry::new());
    let states = explore(|| System::new(&metrics));
    assert!(states > 5_000, "{states} states");
}
