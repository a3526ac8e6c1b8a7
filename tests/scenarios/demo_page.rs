//! The demo's page, and with it the browser client, in a real browser against the real services.
//! Needs Chromium, and no Node.js: the page is built.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, ensure};
use demo::{Plan, Site};
use harness::{
    events::{self, DESIGNED, Event, fresh_user},
    redis::RedisTopology,
    stack::{Stack, TIMEOUT},
};
use serde_json::{Value, json};
use support::{browser::Tab, delivery_checker::DeliveryChecker};
use tokio::net::TcpListener;

use crate::{context::Context, runner::scenarios};

pub(crate) mod appearance;
pub(crate) mod reconnect;

scenarios![
    the_page_shows_every_event_once,
    texts_are_shown_and_never_run,
    tokens_are_renewed_on_the_live_connection,
    two_tabs_share_a_connection_and_hand_it_on,
];

const STATE: &str = "document.getElementById('state').dataset.state";
const CONNECTION: &str = "document.getElementById('state').dataset.connection";
/// What the page shows, oldest first.
const SHOWN: &str = "[...document.querySelectorAll('#notifications > li')]
    .map((item) => JSON.parse(item.querySelector('pre').textContent)).reverse()";

/// A site of the plan, beside the services.
async fn site(stack: &Stack<impl RedisTopology>, plan: Plan) -> anyhow::Result<Site> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Site::start(listener, stack, plan).await
}

/// Waits until the page shows as many notifications as these, and checks that they are these, each
/// once and in order.
async fn shows(tab: &mut Tab, user: &str, sent: &[String], limit: Duration) -> anyhow::Result<()> {
    let enough = format!("{SHOWN}.length >= {}", sent.len());
    let waited = tab.wait_for_value(&enough, json!(true), limit).await;
    let mut checker = DeliveryChecker::default();
    for id in sent {
        checker.record_sent(user, id);
    }
    for notification in tab.value(SHOWN).await?.as_array().context("a list")? {
        checker.record_delivered(user, notification)?;
    }
    checker.violations().ensure_none()?;
    waited
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

/// What a script that clicks does.
fn click(selector: &str) -> String {
    format!("document.querySelector({}).click()", json!(selector))
}

async fn the_page_shows_every_event_once(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = site(stack, Plan::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    tab.value(&click("#all")).await?;
    tab.wait_for_value(&format!("{SHOWN}.length"), json!(DESIGNED), TIMEOUT).await?;
    let shown = tab.value(SHOWN).await?;
    let mut names: Vec<&str> =
        shown.as_array().into_iter().flatten().filter_map(|n| n["event"].as_str()).collect();
    names.sort_unstable();
    let cases = events::designed()?;
    let mut designed: Vec<&str> = cases.iter().map(events::Case::name).collect();
    designed.sort_unstable();
    ensure!(names == designed, "these are shown: {names:?}");
    let timed = "[...document.querySelectorAll('.latency')].filter(l => l.textContent).length";
    tab.wait_for_value(timed, json!(DESIGNED), TIMEOUT).await?;
    let counting = "document.querySelector('[data-deadline] .countdown').textContent";
    let left = tab.value(counting).await?;
    let begins = |left: &str| ["24:00:00", "23:59:"].iter().any(|time| left.starts_with(time));
    ensure!(left.as_str().is_some_and(begins), "counts {left}");
    // A filter hides what is not wanted and brings it back.
    let hidden =
        "[...document.querySelectorAll('#notifications > li')].filter(i => i.hidden).length";
    tab.value(&click("#filters button:last-child")).await?;
    tab.wait_for_value(hidden, json!(3), TIMEOUT).await?;
    tab.value(&click("#filters button:last-child")).await?;
    tab.wait_for_value(hidden, json!(0), TIMEOUT).await
}

async fn texts_are_shown_and_never_run(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = site(stack, Plan::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    let name = "<script>ran = 1</script><img src=x onerror='ran = 1'>&amp;.docx";
    let mut event = events::designed()?[0].fresh(&user)?;
    event.envelope["data"]["filename"] = name.into();
    stack.producer.send(&event).await?;
    shows(&mut tab, &user, &[event.id], TIMEOUT).await?;
    let message = tab.value("document.querySelector('.message').textContent").await?;
    ensure!(message == name, "it shows {message}");
    let elements = "document.querySelectorAll('#notifications :is(script, img)').length";
    ensure!(tab.value(elements).await? == 0, "it has become markup");
    ensure!(tab.value("typeof ran").await? == "undefined", "it has run");
    Ok(())
}

async fn tokens_are_renewed_on_the_live_connection(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = site(stack, Plan::demo(&user).tokens_for(4)).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    let connection = tab.value(CONNECTION).await?;
    ensure!(connection.is_string(), "a connection has a name: {connection}");
    // One for the page itself, one to connect, and so many renewals take longer than any of the
    // tokens lasts.
    let sessions = 2 + 3;
    harness::eventually("the tokens are renewed", TIMEOUT, async || {
        ensure!(site.sessions() >= sessions, "{} of {sessions} so far", site.sessions());
        Ok(())
    })
    .await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    shows(&mut tab, &user, &ids(&events), TIMEOUT).await?;
    let now = tab.value(CONNECTION).await?;
    ensure!(now == connection, "{now} instead of {connection}");
    Ok(())
}

async fn two_tabs_share_a_connection_and_hand_it_on(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = site(stack, Plan::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut first = window.open(site.origin()).await?;
    first.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    let connection = first.value(CONNECTION).await?;
    let mut second = window.open(site.origin()).await?;
    second.wait_for_value(CONNECTION, connection.clone(), TIMEOUT).await?;
    let before = events::one_of_each(&user)?;
    stack.producer.send_all(&before).await?;
    for tab in [&mut first, &mut second] {
        shows(tab, &user, &ids(&before), TIMEOUT).await?;
    }
    window.close(first).await?;
    // Some of these are published while nobody is connected.
    let after = events::one_of_each(&user)?;
    stack.producer.send_all(&after).await?;
    let all: Vec<String> = ids(&before).into_iter().chain(ids(&after)).collect();
    shows(&mut second, &user, &all, TIMEOUT).await?;
    let other = format!("{CONNECTION} !== {connection} && {STATE} === 'open'");
    second.wait_for_value(&other, Value::Bool(true), TIMEOUT).await
}
