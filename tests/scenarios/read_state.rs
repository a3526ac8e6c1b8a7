//! What a user has read, as every device of the user sees it.

use anyhow::{Context as _, ensure};
use harness::{
    client::{Client, ConnectOptions, Transport},
    event_feed::{self, EventStream},
    events::{self, Event, fresh_user},
    http,
    redis::stream_key,
    stack::{Stack, TIMEOUT},
};
use hyper::{Method, StatusCode};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

use crate::{
    assertions::{expect_no_further_frames, wait_for_published},
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
};

pub(crate) mod stored;

scenarios![
    every_device_has_the_same_read_state_after_random_reads_publishes_and_trims,
    a_client_without_the_subprotocol_is_sent_no_read_state,
    the_first_notification_is_counted_exactly_even_before_the_user_first_connects,
    the_first_frame_of_a_connection_has_the_read_state_and_publishes_none,
    a_poll_is_answered_when_another_device_marks_as_read,
];

/// Three devices of a user, on both gateways, and what they have to be sent.
struct Devices<'a> {
    stack: &'a Stack,
    user: String,
    sockets: [Client; 2],
    stream: EventStream,
    /// The ids of all notifications, in order.
    published: Vec<String>,
    /// The number of them that the history no longer has.
    trimmed: usize,
    /// The number of them that the user has read.
    read: usize,
}

impl<'a> Devices<'a> {
    async fn connect(stack: &'a Stack) -> anyhow::Result<Self> {
        let user = fresh_user();
        let sockets = [stack.client_at(0, &user).await?, stack.client_at(1, &user).await?];
        let (address, token) = (stack.gateways[1].address(), stack.token(&user)?);
        let mut stream = EventStream::open(address, &token, None).await?;
        stream.next_frame(TIMEOUT).await?;
        let (published, trimmed, read) = (Vec::new(), 0, 0);
        Ok(Self { stack, user, sockets, stream, published, trimmed, read })
    }

    async fn publish(&mut self, count: usize) -> anyhow::Result<()> {
        let case = &events::designed()?[0];
        let events: Vec<Event> =
            (0..count).map(|_| case.fresh(&self.user)).collect::<anyhow::Result<_>>()?;
        self.stack.producer.send_all(&events).await?;
        let kept = self.published.len() - self.trimmed;
        let stream = wait_for_published(self.stack, &self.user, kept + count).await?;
        for (id, _) in &stream[kept..] {
            for frame in self.next_frames().await? {
                ensure!(frame["id"] == **id, "expected the notification {id}, got {frame}");
            }
            self.published.push(id.clone());
        }
        Ok(())
    }

    async fn trim(&mut self, count: usize) -> anyhow::Result<()> {
        self.trimmed = (self.trimmed + count).min(self.published.len());
        let kept = self.published.len() - self.trimmed;
        let mut trim = redis::cmd("XTRIM");
        trim.arg(stream_key(&self.user)).arg("MAXLEN").arg(kept);
        trim.exec_async(&mut self.stack.redis.connection().await?).await?;
        Ok(())
    }

    /// Marks the first notifications as read; a smaller number than before changes nothing.
    async fn mark_read(&mut self, count: usize, device: usize) -> anyhow::Result<()> {
        let up_to = count.checked_sub(1).map(|index| self.published[index].clone());
        self.read = self.read.max(count);
        let answer = match self.sockets.get_mut(device) {
            Some(socket) => {
                socket.send_json(&json!({"type": "read", "up_to": up_to})).await?;
                None
            }
            None => Some(post(self.stack, &self.user, up_to.as_deref()).await?),
        };
        let expected = self.expected();
        for frame in self.next_frames().await? {
            ensure!(frame["event"] == "read_state", "expected a read state, got {frame}");
            ensure!(frame["data"] == expected, "expected {expected}, got {frame}");
        }
        ensure!(answer.is_none_or(|answer| answer == expected), "expected {expected} as answer");
        Ok(())
    }

    fn expected(&self) -> Value {
        let Self { published, trimmed, read, .. } = self;
        let start = || "0-0".to_owned();
        let newest = published.last().cloned();
        json!({
            "up_to": read.checked_sub(1).map_or_else(start, |index| published[index].clone()),
            "unread": published.len() - read.max(trimmed),
            // The history reaches back to the newest notification that was read, or is whole.
            "exact": *read == published.len() || *trimmed == 0 || trimmed < read,
            "last_event_id": newest,
        })
    }

    /// Returns the next frame of each device.
    async fn next_frames(&mut self) -> anyhow::Result<[Value; 3]> {
        let [first, second] = &mut self.sockets;
        Ok([
            first.next_frame(TIMEOUT).await?,
            second.next_frame(TIMEOUT).await?,
            self.stream.next_frame(TIMEOUT).await?.1,
        ])
    }
}

async fn post(stack: &Stack, user: &str, up_to: Option<&str>) -> anyhow::Result<Value> {
    let path = up_to.map_or("/read".to_owned(), |up_to| format!("/read?up_to={up_to}"));
    let bearer = format!("Bearer {}", stack.token(user)?);
    let address = stack.gateways[0].address();
    let headers = [("authorization", &*bearer)];
    let response = http::request(Method::POST, address, &path, &headers).await?;
    ensure!(response.status() == StatusCode::OK, "POST {path}: {}", response.status());
    Ok(serde_json::from_slice(response.body())?)
}

/// Publishes notifications to a new user. Returns the user and the ids.
async fn user_with_history(stack: &Stack, count: usize) -> anyhow::Result<(String, Vec<String>)> {
    let (user, case) = (fresh_user(), &events::designed()?[0]);
    let events: Vec<Event> =
        (0..count).map(|_| case.fresh(&user)).collect::<anyhow::Result<_>>()?;
    stack.producer.send_all(&events).await?;
    let stream = wait_for_published(stack, &user, count).await?;
    Ok((user, stream.into_iter().map(|(id, _)| id).collect()))
}

async fn expect_read_state(
    stack: &Stack,
    user: &str,
    up_to: Option<&str>,
    (read, unread, exact, newest): (&str, usize, bool, &str),
) -> anyhow::Result<()> {
    let state = post(stack, user, up_to).await?;
    let expected = json!({
        "up_to": read, "unread": unread, "exact": exact, "last_event_id": newest,
    });
    ensure!(state == expected, "expected {expected}, got {state}");
    Ok(())
}

async fn every_device_has_the_same_read_state_after_random_reads_publishes_and_trims(
    context: &Context,
) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed("read state"));
    let mut devices = Devices::connect(context.stack().await?).await?;
    devices.publish(2).await?;
    for round in 0..RunProfile::current().pick(40, 400) {
        let step = ["read", "read", "publish", "trim"].choose(&mut random).context("a step")?;
        let all = devices.published.len();
        let done = match *step {
            "publish" => devices.publish(random.random_range(1..4)).await,
            "trim" => devices.trim(random.random_range(1..4)).await,
            _ => {
                let (count, device) = (random.random_range(0..=all), random.random_range(0..3));
                devices.mark_read(count, device).await
            }
        };
        let (trimmed, read) = (devices.trimmed, devices.read);
        done.with_context(|| format!("round {round}, {step}: {all}, {trimmed}, {read}"))?;
    }
    Ok(())
}

async fn a_client_without_the_subprotocol_is_sent_no_read_state(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut knows = stack.client(&user).await?;
    let options = ConnectOptions::new(stack.gateways[1].address());
    let other = options.token(&stack.token(&user)?, Transport::Query).open().await?;
    stack.wait_for_subscriptions(&user, 2).await?;
    knows.send_json(&json!({"type": "read"})).await?;
    let state = knows.next_frame(TIMEOUT).await?;
    ensure!(state["event"] == "read_state", "expected a read state, got {state}");
    expect_no_further_frames(stack, &user, &mut [other]).await
}

async fn the_first_notification_is_counted_exactly_even_before_the_user_first_connects(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let (user, ids) = user_with_history(stack, 3).await?;
    expect_read_state(stack, &user, None, ("0-0", 3, true, &ids[2])).await?;
    let _client = stack.client(&user).await?;
    expect_read_state(stack, &user, Some(&ids[0]), (&ids[0], 2, true, &ids[2])).await
}

async fn the_first_frame_of_a_connection_has_the_read_state_and_publishes_none(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let (user, ids) = user_with_history(stack, 3).await?;
    expect_read_state(stack, &user, Some(&ids[0]), (&ids[0], 2, true, &ids[2])).await?;
    let mut first = stack.connection(0, &user)?.open().await?;
    let state = first.expect_authenticated(TIMEOUT).await?;
    let expected = json!({
        "unread": 2, "read_up_to": ids[0], "exact": true, "counted_to": ids[2]
    });
    for (name, value) in expected.as_object().context("an object")? {
        ensure!(state[name] == *value, "expected {expected}, got {state}");
    }
    let second = stack.client_at(1, &user).await?;
    expect_no_further_frames(stack, &user, &mut [first, second]).await
}

async fn a_poll_is_answered_when_another_device_marks_as_read(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let (user, ids) = user_with_history(stack, 3).await?;
    let (address, token) = (stack.gateways[1].address(), stack.token(&user)?);
    let poll = |known: &str| {
        let (newest, known) = (&ids[2], known.to_owned());
        let token = token.clone();
        async move {
            let query = format!("after={newest}&wait=10&read_up_to={known}");
            event_feed::poll(address, &token, &query).await
        }
    };
    let expect = |answer: Value, up_to: &str| {
        let is_expected = answer["frames"][0]["data"]["up_to"] == up_to;
        ensure!(is_expected, "expected a read state up to {up_to}, got {answer}");
        Ok(())
    };
    // While it waits.
    let read = async {
        stack.wait_for_subscriptions(&user, 1).await?;
        post(stack, &user, Some(&ids[0])).await
    };
    let ((_, answer), _) = tokio::try_join!(poll("0-0"), read)?;
    expect(answer, &ids[0])?;
    // Between two polls.
    post(stack, &user, Some(&ids[1])).await?;
    let (_, answer) = poll(&ids[0]).await?;
    expect(answer, &ids[1])
}
