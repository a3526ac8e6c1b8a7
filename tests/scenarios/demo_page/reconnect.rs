//! The demo page across killed gateways and lost networks: it reconnects, resumes and shows every
//! event once.

use std::time::Duration;

use anyhow::ensure;
use demo::SiteContent;
use harness::{
    events::{self, DESIGNED, Event, fresh_user},
    proxy::Fault,
    redis::RedisTopology,
    stack::{Layout, Stack, TIMEOUT},
};
use serde_json::json;
use tokio::time::interval;

use super::{SHOWN, STATE, click, expect_shown, ids, open_page, start_site};
use crate::{
    assertions::wait_for_published, context::Context, run_profile::RunProfile, runner::scenarios,
};

/// Longest time until a page has resumed: the longest reconnect delay of 30 s, with 10 s to spare.
const RESUME_TIMEOUT: Duration = Duration::from_secs(40);
const STATE_TEXT: &str = "document.getElementById('state').textContent";

scenarios![
    a_page_misses_no_event_while_its_gateway_is_killed_repeatedly,
    a_page_that_was_offline_resumes_without_loss,
    the_network_switch_of_the_demo_shows_a_resume,
];

/// Sends events one after another and returns their ids.
async fn send(
    stack: &Stack<impl RedisTopology>,
    user: &str,
    (count, per_second): (usize, u64),
) -> anyhow::Result<Vec<String>> {
    let case = &events::designed()?[0];
    let mut ticks = interval(Duration::from_millis(1000 / per_second));
    let mut sent = Vec::with_capacity(count);
    for _ in 0..count {
        ticks.tick().await;
        let event: Event = case.fresh(user)?;
        stack.producer.send(&event).await?;
        sent.push(event.id);
    }
    Ok(sent)
}

/// With `CHAOS`, every five seconds for a minute.
async fn a_page_misses_no_event_while_its_gateway_is_killed_repeatedly(
    context: &Context,
) -> anyhow::Result<()> {
    let browser = context.browser().await?;
    let (mut stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let site = start_site(&stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    let mut sent = Vec::new();
    // Events while the gateway runs, events while it does not, and events per second.
    let (rounds, up, down, rate) = RunProfile::current().pick((3, 10, 5, 10), (12, 16, 4, 4));
    for _ in 0..rounds {
        sent.extend(send(&stack, &user, (up, rate)).await?);
        stack.gateways[0].kill().await?;
        sent.extend(send(&stack, &user, (down, rate)).await?);
        stack.gateways[0].restart().await?;
    }
    expect_shown(&mut tab, &user, &sent, RESUME_TIMEOUT).await?;
    tab.wait_for_value(STATE_TEXT, json!("Live, nothing missed"), TIMEOUT).await?;
    eprintln!("{} events, each shown once, over {rounds} kills of the gateway", sent.len());
    stack.shut_down_and_check_logs().await
}

async fn a_page_that_was_offline_resumes_without_loss(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    // The browser keeps open WebSockets when it goes offline, so the network is cut first;
    // otherwise the gateway would answer the ping with which the client checks its connection.
    site.network().set_fault(Fault::Blackhole);
    let unlimited = json!({"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    let offline = |offline: bool| {
        let mut conditions = unlimited.clone();
        conditions["offline"] = offline.into();
        conditions
    };
    tab.call("Network.enable", json!({})).await?;
    tab.call("Network.emulateNetworkConditions", offline(true)).await?;
    let is_offline = format!("{STATE_TEXT}.startsWith('Offline')");
    tab.wait_for_value(&is_offline, json!(true), TIMEOUT).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    let shown = tab.value(&format!("{SHOWN}.length")).await?;
    ensure!(shown == 0, "the page shows {shown} events although it is offline");
    site.network().set_fault(Fault::None);
    tab.call("Network.emulateNetworkConditions", offline(false)).await?;
    expect_shown(&mut tab, &user, &ids(&events), RESUME_TIMEOUT).await
}

async fn the_network_switch_of_the_demo_shows_a_resume(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    tab.value(&click("#network")).await?;
    tab.wait_for_value(STATE, json!("waiting"), TIMEOUT).await?;
    tab.value(&click("#all")).await?;
    wait_for_published(stack, &user, DESIGNED).await?;
    let shown = format!("{SHOWN}.length");
    let count = tab.value(&shown).await?;
    ensure!(count == 0, "the page shows {count} events although its network is off");
    tab.value(&click("#network")).await?;
    tab.wait_for_value(&shown, json!(DESIGNED), RESUME_TIMEOUT).await?;
    tab.wait_for_value(STATE_TEXT, json!("Live, nothing missed"), TIMEOUT).await
}
