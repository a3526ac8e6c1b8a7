//! Tabs that share one connection, in Chromium: which tab owns it, and what happens when that tab
//! cannot.

use std::time::Duration;

use demo::{Site, SiteContent};
use harness::{
    events::{self, fresh_user},
    stack::TIMEOUT,
};
use serde_json::{Value, json};
use support::browser::{Tab, Window};

use super::{CONNECTION, STATE, expect_shown, ids, open_page, start_site};
use crate::{context::Context, runner::scenarios};

scenarios![
    two_tabs_share_a_connection_which_the_second_takes_over,
    a_tab_resumes_from_the_position_of_a_leader_that_received_nothing,
    a_frozen_leader_is_replaced_and_follows_when_it_wakes_up,
    a_blocked_leader_is_replaced,
    a_fresh_tab_connects_although_the_leader_has_a_stale_token,
];

/// Longest time until another tab has taken over from one that does not answer.
const TAKEOVER: Duration = Duration::from_secs(10);

/// Opens two tabs that share a connection and returns them with its id.
async fn open_two(window: &mut Window<'_>, site: &Site) -> anyhow::Result<(Tab, Tab, Value)> {
    let mut first = open_page(window, site).await?;
    let connection = first.value(CONNECTION).await?;
    let mut second = window.open(site.origin()).await?;
    second.wait_for_value(CONNECTION, connection.clone(), TIMEOUT).await?;
    Ok((first, second, connection))
}

/// Waits until the tab is connected by another connection than `previous`; returns its id.
async fn expect_other(tab: &mut Tab, previous: &Value, limit: Duration) -> anyhow::Result<Value> {
    let other = format!("{CONNECTION} !== {previous} && {STATE} === 'open'");
    tab.wait_for_value(&other, Value::Bool(true), limit).await?;
    tab.value(CONNECTION).await
}

async fn two_tabs_share_a_connection_which_the_second_takes_over(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let (mut first, mut second, connection) = open_two(&mut window, &site).await?;
    let before = events::one_of_each(&user)?;
    stack.producer.send_all(&before).await?;
    for tab in [&mut first, &mut second] {
        expect_shown(tab, &user, &ids(&before), TIMEOUT).await?;
    }
    window.close(first).await?;
    // Some of these are published while neither tab is connected.
    let after = events::one_of_each(&user)?;
    stack.producer.send_all(&after).await?;
    let all: Vec<String> = ids(&before).into_iter().chain(ids(&after)).collect();
    expect_shown(&mut second, &user, &all, TIMEOUT).await?;
    expect_other(&mut second, &connection, TIMEOUT).await.map(drop)
}

async fn a_tab_resumes_from_the_position_of_a_leader_that_received_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let (first, mut second, connection) = open_two(&mut window, &site).await?;
    // The second tab takes over while the events are published, and fails until they all are.
    site.set_token(Some("stale".to_owned()));
    window.close(first).await?;
    second.wait_for_value(STATE, json!("waiting"), TIMEOUT).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    crate::assertions::wait_for_published(stack, &user, events.len()).await?;
    site.set_token(None);
    expect_other(&mut second, &connection, TIMEOUT).await?;
    expect_shown(&mut second, &user, &ids(&events), TIMEOUT).await
}

async fn a_frozen_leader_is_replaced_and_follows_when_it_wakes_up(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let (mut first, mut second, connection) = open_two(&mut window, &site).await?;
    first.call("Page.setWebLifecycleState", json!({"state": "frozen"})).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    let connection = expect_other(&mut second, &connection, TAKEOVER).await?;
    expect_shown(&mut second, &user, &ids(&events), TIMEOUT).await?;
    first.call("Page.setWebLifecycleState", json!({"state": "active"})).await?;
    first.wait_for_value(CONNECTION, connection, TIMEOUT).await?;
    expect_shown(&mut first, &user, &ids(&events), TIMEOUT).await
}

async fn a_blocked_leader_is_replaced(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let (mut first, mut second, connection) = open_two(&mut window, &site).await?;
    let block = "setTimeout(() => { const end = Date.now() + 12000; while (Date.now() < end); })";
    first.value(block).await?;
    let connection = expect_other(&mut second, &connection, TAKEOVER).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_shown(&mut second, &user, &ids(&events), TIMEOUT).await?;
    first.wait_for_value(CONNECTION, connection, TIMEOUT).await?;
    expect_shown(&mut first, &user, &ids(&events), TIMEOUT).await
}

async fn a_fresh_tab_connects_although_the_leader_has_a_stale_token(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    site.set_token(Some("stale".to_owned()));
    let mut first = window.open(site.origin()).await?;
    // Refused several times, so that its own next delay is long.
    let retry_in = "parseInt(document.getElementById('detail').textContent.slice(3)) >= 7";
    first.wait_for_value(retry_in, json!(true), TIMEOUT).await?;
    site.set_token(None);
    let mut second = open_page(&mut window, &site).await?;
    let connection = second.value(CONNECTION).await?;
    first.wait_for_value(CONNECTION, connection, Duration::from_secs(5)).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    for tab in [&mut first, &mut second] {
        expect_shown(tab, &user, &ids(&events), TIMEOUT).await?;
    }
    Ok(())
}
