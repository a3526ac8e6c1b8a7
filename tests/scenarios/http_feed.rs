//! Notifications over plain HTTP, for networks that allow no WebSocket: event streams and long
//! polls resume, end and are refused like WebSockets.

pub(crate) mod http2;

use anyhow::{Context as _, ensure};
use harness::{
    event_feed::{self, EventStream},
    events::{self, Event, fresh_user},
    http,
    process::Signal,
    stack::{Layout, Stack, TIMEOUT},
    token,
};
use serde_json::Value;
use support::raw_socket::RawSocket;
use tokio::time::Instant;

use crate::{assertions::wait_for_published, context::Context, runner::scenarios};

scenarios![
    an_event_stream_resumes_after_its_last_id_without_a_gap_or_a_duplicate,
    polls_from_one_gateway_to_another_miss_and_repeat_nothing,
    a_poll_without_news_is_answered_after_its_wait,
    a_poll_is_refused_by_the_end_of_its_wait_while_redis_does_not_answer,
    a_poll_is_answered_when_the_client_sends_another_request,
    streams_and_polls_end_when_the_gateway_stops_and_say_when_to_reconnect,
    an_event_stream_ends_with_its_token,
    connections_are_counted_by_transport,
];

/// Sends events to a user and waits until they are published.
async fn publish(stack: &Stack, user: &str, count: usize) -> anyhow::Result<Vec<Event>> {
    let case = &events::designed()?[0];
    let before = stack.stream(user).await?.len();
    let event = |_| {
        let mut event = case.fresh(user)?;
        // One partition, so that the order is kept.
        user.clone_into(&mut event.key);
        Ok(event)
    };
    let events = (0..count).map(event).collect::<anyhow::Result<Vec<Event>>>()?;
    stack.producer.send_all(&events).await?;
    wait_for_published(stack, user, before + count).await?;
    Ok(events)
}

/// Checks that these are the notifications of the events, in order.
fn expect_events(frames: &[Value], events: &[Event]) -> anyhow::Result<()> {
    let ids: Vec<&str> = frames.iter().filter_map(|frame| frame["event_id"].as_str()).collect();
    let expected: Vec<&str> = events.iter().map(|event| &*event.id).collect();
    ensure!(ids == expected, "expected the events {expected:?}, got {frames:?}");
    Ok(())
}

/// Opens a stream and reads its first frame; returns the result of the resume.
async fn open(
    stack: &Stack,
    gateway: usize,
    user: &str,
    last_event_id: Option<&str>,
) -> anyhow::Result<(EventStream, Value)> {
    let (address, token) = (stack.gateways[gateway].address(), stack.token(user)?);
    let mut stream = EventStream::open(address, &token, last_event_id).await?;
    let (_, mut first) = stream.next_frame(TIMEOUT).await?;
    ensure!(first["data"]["state"] == "authenticated", "expected `authenticated`, got {first}");
    let resume = first["data"]["resume"].take();
    Ok((stream, resume))
}

async fn an_event_stream_resumes_after_its_last_id_without_a_gap_or_a_duplicate(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let (mut stream, resume) = open(stack, 0, &user, None).await?;
    ensure!(resume == "none", "expected resume none, got {resume}");
    let start = stream.next(TIMEOUT).await?.id.context("the start position is an id")?;
    let mut position = start;
    for round in 0..3 {
        let events = publish(stack, &user, 3).await?;
        let mut frames = Vec::new();
        for _ in &events {
            let (id, frame) = stream.next_frame(TIMEOUT).await?;
            position = id.context("a notification has an id")?;
            ensure!(frame["id"] == *position, "the id {position} is not that of {frame}");
            frames.push(frame);
        }
        expect_events(&frames, &events).with_context(|| format!("round {round}, live"))?;
        drop(stream);
        let missed = publish(stack, &user, 20).await?;
        let (resumed, resume) = open(stack, round % 2, &user, Some(&position)).await?;
        ensure!(resume == "complete", "expected a complete resume, got {resume}");
        stream = resumed;
        let mut frames = Vec::new();
        for _ in &missed {
            let (id, frame) = stream.next_frame(TIMEOUT).await?;
            position = id.context("a notification has an id")?;
            frames.push(frame);
        }
        expect_events(&frames, &missed).with_context(|| format!("round {round}, missed"))?;
    }
    Ok(())
}

async fn polls_from_one_gateway_to_another_miss_and_repeat_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let token = stack.token(&user)?;
    let addresses = [stack.gateways[0].address(), stack.gateways[1].address()];
    let (_, first) = event_feed::poll(addresses[0], &token, "").await?;
    ensure!(first["resume"] == "none", "expected resume none, got {first}");
    let mut next = first["next"].as_str().context("the answer has a position")?.to_owned();
    // The events are published before, between and during the polls.
    let publish = async {
        let mut all = publish(stack, &user, 2).await?;
        for _ in 0..5 {
            all.extend(publish(stack, &user, 3).await?);
        }
        anyhow::Ok(all)
    };
    let poll = async {
        let (mut frames, deadline) = (Vec::new(), Instant::now() + TIMEOUT);
        while frames.len() < 17 {
            ensure!(Instant::now() < deadline, "only {} of 17 frames", frames.len());
            let address = addresses[frames.len() % 2];
            let query = format!("after={next}&wait=5");
            let (status, mut answer) = event_feed::poll(address, &token, &query).await?;
            ensure!(status == 200 && answer["resume"] == "complete", "{status} {answer}");
            answer["next"].as_str().context("the answer has a position")?.clone_into(&mut next);
            frames.append(answer["frames"].as_array_mut().context("no frames")?);
        }
        Ok(frames)
    };
    let (events, frames) = tokio::try_join!(publish, poll)?;
    expect_events(&frames, &events)
}

async fn a_poll_without_news_is_answered_after_its_wait(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let (address, token) = (stack.gateways[0].address(), stack.token(&user)?);
    publish(stack, &user, 1).await?;
    let newest = stack.stream(&user).await?.pop().context("the stream has an entry")?.0;
    let begin = Instant::now();
    let (_, answer) = event_feed::poll(address, &token, &format!("after={newest}&wait=1")).await?;
    let expected = serde_json::json!({"frames": [], "next": newest, "resume": "complete"});
    ensure!(answer == expected, "expected {expected}, got {answer}");
    ensure!(begin.elapsed().as_millis() >= 1_000, "answered after {:?}", begin.elapsed());
    let (_, answer) = event_feed::poll(address, &token, "after=1-1&wait=5").await?;
    ensure!(answer["resume"] == "incomplete", "expected an incomplete resume, got {answer}");
    ensure!(answer["next"] == *newest, "the next poll would be incomplete again: {answer}");
    Ok(())
}

async fn a_poll_is_refused_by_the_end_of_its_wait_while_redis_does_not_answer(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let (address, token) = (stack.gateways[0].address(), stack.token(&user)?);
    stack.redis.freeze()?;
    for query in ["wait=4", "after=1-1&wait=4", "after=1-1&wait=0"] {
        let begin = Instant::now();
        let (status, answer) = event_feed::poll(address, &token, query).await?;
        ensure!(status == 503, "{query}: expected 503, got {status} {answer}");
        ensure!(begin.elapsed().as_secs() < 6, "{query}: answered after {:?}", begin.elapsed());
    }
    stack.redis.thaw()?;
    let (status, answer) = event_feed::poll(address, &token, "wait=10").await?;
    ensure!(status == 200 && answer["resume"] == "none", "expected a position, got {answer}");
    stack.shut_down_and_check_logs().await
}

async fn a_poll_is_answered_when_the_client_sends_another_request(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    publish(stack, &user, 1).await?;
    let newest = stack.stream(&user).await?.pop().context("the stream has an entry")?.0;
    let poll = format!(
        "GET /events?after={newest}&wait=60 HTTP/1.1\r\nHost: gateway\r\n\
         Accept: application/json\r\nAuthorization: Bearer {}\r\n\r\n",
        stack.token(&user)?
    );
    let mut socket = RawSocket::connect(stack.gateways[0].address()).await?;
    let begin = Instant::now();
    socket.send(poll.repeat(2).as_bytes()).await?;
    let head = socket.response_head().await?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "expected an answer, got {head}");
    ensure!(begin.elapsed() < TIMEOUT, "answered after {:?}", begin.elapsed());
    Ok(())
}

async fn streams_and_polls_end_when_the_gateway_stops_and_say_when_to_reconnect(
    context: &Context,
) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, gateways: 1, ..Layout::default() };
    let (mut stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let (mut stream, _) = open(&stack, 0, &user, None).await?;
    let (address, token) = (stack.gateways[0].address(), stack.token(&user)?);
    let (_, first) = event_feed::poll(address, &token, "").await?;
    let query = format!("after={}&wait=60", first["next"].as_str().unwrap_or_default());
    let poll = async {
        let (status, answer) = event_feed::poll(address, &token, &query).await?;
        ensure!(status == 200 && answer["retry_after_ms"].is_u64(), "got {status} {answer}");
        Ok(())
    };
    let stop = async {
        let open = "gateway_transport_connections{transport=\"long_poll\"}";
        harness::eventually("the poll is open", TIMEOUT, async || {
            ensure!(stack.gateways[0].metric(open).await? > 0.0, "no poll is open");
            Ok(())
        })
        .await?;
        stack.gateways[0].signal(Signal::TERM)
    };
    tokio::try_join!(poll, stop)?;
    let mut events = Vec::new();
    while let Ok(event) = stream.next(TIMEOUT).await {
        events.push(event);
    }
    let [.., state, close] = &events[..] else { anyhow::bail!("only {events:?}") };
    ensure!(state.retry.is_some(), "expected `retry`, got {state:?}");
    ensure!(state.data.contains("\"disconnected\""), "expected the last frame, got {state:?}");
    let is_close = close.name.as_deref() == Some("close") && close.data.contains("1012");
    ensure!(is_close, "expected close code 1012, got {close:?}");
    let status = stack.gateways[0].wait_for_exit(TIMEOUT).await?;
    ensure!(status.success(), "expected exit code 0, got {status}");
    stack.gateways[0].restart().await?;
    stack.shut_down_and_check_logs().await
}

async fn an_event_stream_ends_with_its_token(context: &Context) -> anyhow::Result<()> {
    let gateway_settings = vec![("JWT_EXPIRY_GRACE", "0s".to_owned())];
    let layout = Layout { workers: 0, gateways: 1, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let token = token::sign(&token::claims(&fresh_user(), 2), &stack.secret)?;
    let mut stream = EventStream::open(stack.gateways[0].address(), &token, None).await?;
    let close = loop {
        let event = stream.next(TIMEOUT).await?;
        if event.name.is_some() {
            break event;
        }
    };
    ensure!(close.data.contains("1008"), "expected close code 1008, got {close:?}");
    ensure!(stream.next(TIMEOUT).await.is_err(), "expected the end of the stream");
    stack.shut_down_and_check_logs().await
}

async fn connections_are_counted_by_transport(context: &Context) -> anyhow::Result<()> {
    let layout = Layout { workers: 0, gateways: 1, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let gateway = &stack.gateways[0];
    let _client = stack.client(&user).await?;
    let (_stream, _) = open(&stack, 0, &user, None).await?;
    event_feed::poll(gateway.address(), &stack.token(&user)?, "").await?;
    let page = gateway.metrics().await?;
    for (transport, open) in [("websocket", 1.0), ("event_stream", 1.0), ("long_poll", 0.0)] {
        let value =
            |name: &str| http::metric(&page, &format!("{name}{{transport=\"{transport}\"}}"));
        let open_now = value("gateway_transport_connections");
        ensure!(open_now == Some(open), "{transport}: expected {open} open, got {open_now:?}");
        let opened = value("gateway_transport_connections_opened_total");
        ensure!(opened == Some(1.0), "{transport}: expected 1 opened, got {opened:?}");
    }
    stack.shut_down_and_check_logs().await
}
