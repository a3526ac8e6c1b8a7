//! Gateways that die or stop under load, and the clients that come back from them.

use anyhow::{Context as _, ensure};
use harness::{
    client::{Client, Closed},
    events::{self, Event, fresh_user},
    eventually,
    process::Signal,
    stack::{Layout, Stack, TIMEOUT},
};
use hyper::header::RETRY_AFTER;
use support::{
    client_fleet::{ClientFleet, ReconnectPolicy},
    delivery_checker::DeliveryChecker,
    event_generator::EventGenerator,
};
use tokio::time::Instant;

use super::{PER_SECOND, counted};
use crate::{
    assertions::expect_notifications,
    context::Context,
    run_profile::{RunProfile, seed},
    runner::scenarios,
};

scenarios![
    the_clients_of_a_killed_gateway_miss_nothing_at_another,
    a_crowd_that_comes_back_at_once_misses_nothing,
    a_gateway_that_stops_under_load_spreads_its_clients_and_they_miss_nothing,
    clients_that_reconnect_all_the_time_miss_nothing_and_harm_nobody,
    handshakes_over_the_rate_are_asked_to_come_later,
    a_slow_reader_resumes_what_the_fast_ones_have_got,
    low_priority_waits_for_a_write_to_share,
];

async fn the_clients_of_a_killed_gateway_miss_nothing_at_another(
    context: &Context,
) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout { gateways: 2, ..Layout::default() }).await?;
    let fleet = ClientFleet::connect(&stack, &[(40, ReconnectPolicy::Resume)]).await?;
    let mut generator =
        EventGenerator::start(&stack, &fleet, PER_SECOND, seed("killed gateway")).await?;
    for round in 0..RunProfile::current().pick(2, 12) {
        let gateway = &mut stack.gateways[round % 2];
        generator.wait_for_sent(50).await?;
        gateway.kill().await?;
        generator.wait_for_sent(100).await?;
        gateway.restart().await?;
        fleet.wait_until_connected().await?;
    }
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn a_crowd_that_comes_back_at_once_misses_nothing(context: &Context) -> anyhow::Result<()> {
    let mut stack = context.own_stack(&Layout::default()).await?;
    let size = RunProfile::current().pick(300, 5_000);
    let fleet = ClientFleet::connect(&stack, &[(size, ReconnectPolicy::Resume)]).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("crowd")).await?;
    generator.wait_for_sent(50).await?;
    stack.gateways[0].kill().await?;
    generator.wait_for_sent(50).await?;
    stack.gateways[0].restart().await?;
    let back = Instant::now();
    let (present, repair) =
        tokio::join!(fleet.wait_until_connected(), fleet.wait_for_delivery(TIMEOUT * 3));
    present?;
    eprintln!("{size} clients, back within {:?}: {}", back.elapsed(), repair?);
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn a_gateway_that_stops_under_load_spreads_its_clients_and_they_miss_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let window = RunProfile::current().pick(1, 10);
    let gateway_settings = vec![("DRAIN_WINDOW", format!("{window}s"))];
    let layout = Layout { gateways: 2, gateway_settings, ..Layout::default() };
    let mut stack = context.own_stack(&layout).await?;
    let fleet = ClientFleet::connect(&stack, &[(60, ReconnectPolicy::Resume)]).await?;
    let mut generator =
        EventGenerator::start(&stack, &fleet, PER_SECOND, seed("stopped gateway")).await?;
    generator.wait_for_sent(50).await?;
    stack.gateways[0].signal(Signal::TERM)?;
    let status = stack.gateways[0].wait_for_exit(TIMEOUT * 2).await?;
    ensure!(status.success(), "ended with {status}");
    fleet.wait_until_connected().await?;
    generator.wait_for_sent(50).await?;
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    ensure!(fleet.close_codes().keys().eq([&1012]), "closed with {:?}", fleet.close_codes());
    let mut pauses = fleet.reconnect_delays_ms();
    pauses.sort_unstable();
    pauses.dedup();
    // Half of the clients were at this gateway, and few drew the same millisecond.
    ensure!(pauses.len() > 15, "reconnect delays are not random: {pauses:?}");
    let allowed = 500..=2_000;
    ensure!(
        pauses.iter().all(|pause| allowed.contains(pause)),
        "expected {allowed:?} ms: {pauses:?}"
    );
    drop(fleet);
    stack.gateways[0].restart().await?;
    stack.shut_down_and_check_logs().await
}

async fn clients_that_reconnect_all_the_time_miss_nothing_and_harm_nobody(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&Layout { gateways: 2, ..Layout::default() }).await?;
    let sizes = [(20, ReconnectPolicy::Never), (20, ReconnectPolicy::ResumeAfterEach)];
    let fleet = ClientFleet::connect(&stack, &sizes).await?;
    let mut generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("restless")).await?;
    generator.wait_for_sent(RunProfile::current().pick(400, 6_000)).await?;
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    let accepted = r#"websocket_connections_total{status="accepted"}"#;
    let handshakes = counted(&stack.gateways[0], accepted).await?;
    ensure!(handshakes > 100.0, "only {handshakes} handshakes: nobody was restless");
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn handshakes_over_the_rate_are_asked_to_come_later(context: &Context) -> anyhow::Result<()> {
    let gateway_settings = vec![("MAX_HANDSHAKES_PER_SECOND", "1".to_owned())];
    let layout = Layout { workers: 0, gateway_settings, ..Layout::default() };
    let stack = context.own_stack(&layout).await?;
    let connection = stack.connection(0, &fresh_user())?;
    // Of so many at once on a slow machine, too, some are too many.
    let attempts: [_; 10] = std::array::from_fn(|_| connection.refused_response());
    let attempts = futures_util::future::join_all(attempts).await;
    let refusal = attempts.into_iter().find_map(Result::ok).context("one is refused")?;
    ensure!(refusal.status() == 503, "refused with {}", refusal.status());
    let later = refusal.headers().get(RETRY_AFTER).context("it says when to come again")?;
    ensure!(later == "1", "{later:?}");
    eventually("who comes later is let in", TIMEOUT, async || connection.open().await).await?;
    stack.shut_down_and_check_logs().await
}

/// So much that no kernel keeps it for a socket.
const EVENTS: usize = 400;
const TEXT: usize = 64 << 10;

async fn a_slow_reader_resumes_what_the_fast_ones_have_got(
    context: &Context,
) -> anyhow::Result<()> {
    // Room for what a busy machine delivers to the fast ones at once, and not for all of it.
    let gateway_settings = vec![("OUTBOX_CAPACITY", "100".to_owned())];
    let worker_settings = vec![("HISTORY_MAX_LEN", "10000".to_owned())];
    let layout = Layout { worker_settings, gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let connection = stack.connection(0, &user)?;
    let mut slow = connection.clone().receive_buffer(64 << 10).open().await?;
    slow.expect_authenticated(TIMEOUT).await?;
    let fleet = ClientFleet::connect(&stack, &[(10, ReconnectPolicy::Never)]).await?;
    let generator = EventGenerator::start(&stack, &fleet, PER_SECOND, seed("slow reader")).await?;
    let (events, mut checker) = (large(&user)?, DeliveryChecker::default());
    for event in &events {
        checker.record_sent(&user, &event.id);
    }
    // It reads as soon as it is found too slow: a gateway does not keep a close frame for long.
    let read = async {
        too_slow(&stack).await?;
        anyhow::Ok(drain(&mut slow, &user, &mut checker).await)
    };
    let (sent, read) = tokio::join!(stack.producer.send_all(&events), read);
    sent?;
    let (mut last, ended) = read?;
    let code = ended.downcast_ref::<Closed>().map(|closed| closed.code);
    ensure!(code == Some(1013), "it ended otherwise: {ended:#}");
    while checker.delivered() < EVENTS {
        let mut again = connection.clone();
        if let Some(last) = &last {
            again = again.query("last_event_id", last);
        }
        let mut client = again.open().await?;
        // While events still pour in it may be too slow again, but not before it gets anywhere.
        let (reached, ended) = drain(&mut client, &user, &mut checker).await;
        last = Some(reached.with_context(|| format!("no progress: {ended:#}"))?);
    }
    checker.violations().ensure_none()?;
    generator.stop_and_flush().await?;
    fleet.check_delivery(&stack).await?;
    drop(fleet);
    stack.shut_down_and_check_logs().await
}

async fn too_slow(stack: &Stack) -> anyhow::Result<()> {
    let lost = r#"websocket_messages_failed_total{error_type="too_slow"}"#;
    eventually("it is found too slow", TIMEOUT, async || {
        ensure!(counted(&stack.gateways[0], lost).await? > 0.0, "it is not");
        Ok(())
    })
    .await
}

fn large(user: &str) -> anyhow::Result<Vec<Event>> {
    let case = &events::designed()?[0];
    let large = |_| {
        let mut event = case.fresh(user)?;
        event.envelope["data"]["filename"] = "x".repeat(TEXT).into();
        Ok(event)
    };
    (0..EVENTS).map(large).collect()
}

/// Reads until everything has come or the connection ends; returns the last position, and why it
/// ended.
async fn drain(
    client: &mut Client,
    user: &str,
    checker: &mut DeliveryChecker,
) -> (Option<String>, anyhow::Error) {
    let mut last = None;
    loop {
        let ended = match client.next_notification(TIMEOUT).await {
            Ok(frame) => match checker.record_delivered(user, &frame) {
                Ok(()) => {
                    last = frame["id"].as_str().map(str::to_owned);
                    if checker.delivered() < EVENTS {
                        continue;
                    }
                    anyhow::anyhow!("everything has come")
                }
                Err(problem) => problem,
            },
            Err(problem) => problem,
        };
        return (last, ended);
    }
}

async fn low_priority_waits_for_a_write_to_share(context: &Context) -> anyhow::Result<()> {
    // So long that only another event can be why they are sent.
    let gateway_settings = vec![("LOW_PRIORITY_MAX_DELAY", "1h".to_owned())];
    let stack = context.own_stack(&Layout { gateway_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let (low, others): (Vec<_>, Vec<_>) =
        events::designed()?.into_iter().partition(events::Case::may_wait);
    let mut events =
        low.iter().map(|case| case.fresh(&user)).collect::<anyhow::Result<Vec<_>>>()?;
    stack.producer.send_all(&events).await?;
    queued(&stack, events.len()).await?;
    let sent = counted(&stack.gateways[0], "websocket_messages_sent_total").await?;
    ensure!(sent < 1.5, "more than the first frame was sent: {sent}");
    events.push(others[0].fresh(&user)?);
    stack.producer.send(&events[events.len() - 1]).await?;
    expect_notifications(&mut client, &events).await?;
    drop(client);
    stack.shut_down_and_check_logs().await
}

/// Waits until the gateway has so many frames in its queues.
async fn queued(stack: &Stack, frames: usize) -> anyhow::Result<()> {
    let series = r#"gateway_frames_total{outcome="delivered"}"#;
    eventually("the frames are queued", TIMEOUT, async || {
        let delivered = counted(&stack.gateways[0], series).await?;
        ensure!(delivered.round() >= f64::from(u32::try_from(frames)?), "{delivered} are");
        Ok(())
    })
    .await
}
