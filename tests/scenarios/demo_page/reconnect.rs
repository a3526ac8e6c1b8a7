//! What a page goes through: gateways that die, networks that go, people who switch them off.

use std::time::Duration;

use anyhow::ensure;
use demo::Plan;
use harness::{
    events::{self, Event, fresh_user},
    proxy::Fault,
    redis::RedisTopology,
    stack::{Layout, Stack, TIMEOUT},
};
use serde_json::json;
use tokio::time::interval;

use super::{SHOWN, STATE, click, ids, shows, site};
use crate::{context::Context, run_profile::RunProfile, runner::scenarios};

/// Longest time until a page has caught up: the longest pause between attempts, and some.
const CAUGHT_UP_LIMIT: Duration = Duration::from_secs(40);

scenarios![
    a_gateway_that_is_killed_again_and_again_costs_a_page_nothing,
    a_page_that_was_offline_catches_up,
    the_switch_of_the_demo_shows_a_resume,
];

/// Sends so many events, one after the other, so many a second.
async fn send(
    stack: &Stack<impl RedisTopology>,
    user: &str,
    (count, per_second): (usize, u64),
) -> anyhow::Result<Vec<String>> {
    let case = &events::designed()?[0];
    let mut pace = interval(Duration::from_millis(1000 / per_second));
    let mut sent = Vec::with_capacity(count);
    for _ in 0..count {
        pace.tick().await;
        let event: Event = case.fresh(user)?;
        stack.producer.send(&event).await?;
        sent.push(event.id);
    }
    Ok(sent)
}

/// Every five seconds for a minute, in the long form.
async fn a_gateway_that_is_killed_again_and_again_costs_a_page_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let browser = context.browser().await?;
    let (mut stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let site = site(&stack, Plan::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    let mut sent = Vec::new();
    // How many events while the gateway is there, and while it is not, and how many a second.
    let (rounds, up, down, pace) = RunProfile::current().pick((3, 10, 5, 10), (12, 16, 4, 4));
    for _ in 0..rounds {
        sent.extend(send(&stack, &user, (up, pace)).await?);
        stack.gateways[0].kill().await?;
        sent.extend(send(&stack, &user, (down, pace)).await?);
        stack.gateways[0].restart().await?;
    }
    shows(&mut tab, &user, &sent, CAUGHT_UP_LIMIT).await?;
    let state = "document.getElementById('state').textContent";
    tab.wait_for_value(state, json!("Live, nothing missed"), TIMEOUT).await?;
    eprintln!("{} events, each shown once, through {rounds} deaths of the gateway", sent.len());
    drop((tab, site));
    stack.shut_down_and_check_logs().await
}

async fn a_page_that_was_offline_catches_up(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = site(stack, Plan::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    // The browser does not cut WebSockets that are open, so that the network does, and first: told
    // that it is offline, the page asks the gateway for a sign of life, and must not get one.
    site.network().set_fault(Fault::Blackhole);
    let offline = |offline: bool| json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    tab.call("Network.enable", json!({})).await?;
    tab.call("Network.emulateNetworkConditions", offline(true)).await?;
    let told = "document.getElementById('state').textContent.startsWith('Offline')";
    tab.wait_for_value(told, json!(true), TIMEOUT).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    ensure!(tab.value(&format!("{SHOWN}.length")).await? == 0, "it shows what it cannot know");
    site.network().set_fault(Fault::None);
    tab.call("Network.emulateNetworkConditions", offline(false)).await?;
    shows(&mut tab, &user, &ids(&events), CAUGHT_UP_LIMIT).await
}

async fn the_switch_of_the_demo_shows_a_resume(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = site(stack, Plan::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    tab.value(&click("#switch")).await?;
    tab.wait_for_value(STATE, json!("waiting"), TIMEOUT).await?;
    tab.value(&click("#all")).await?;
    harness::eventually("the events are published", TIMEOUT, async || {
        let published = stack.stream(&user).await?.len();
        ensure!(published == events::DESIGNED, "{published} are");
        Ok(())
    })
    .await?;
    ensure!(tab.value(&format!("{SHOWN}.length")).await? == 0, "the network was not cut");
    tab.value(&click("#switch")).await?;
    let shown = format!("{SHOWN}.length");
    tab.wait_for_value(&shown, json!(events::DESIGNED), CAUGHT_UP_LIMIT).await?;
    let state = "document.getElementById('state').textContent";
    tab.wait_for_value(state, json!("Live, nothing missed"), TIMEOUT).await
}
