//! The demo page, and with it the browser client, in Chromium against both services. The page that
//! is built into the demo is used, so most need no Node.js.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, ensure};
use demo::{Site, SiteContent};
use harness::{
    events::{self, DESIGNED, Event, fresh_user},
    eventually,
    redis::RedisTopology,
    stack::{Stack, TIMEOUT},
};
use serde_json::json;
use support::{
    browser::{Tab, Window},
    delivery_checker::DeliveryChecker,
};
use tokio::net::TcpListener;

use crate::{context::Context, runner::scenarios};

pub(crate) mod appearance;
pub(crate) mod controls;
pub(crate) mod networks;
pub(crate) mod own_page;
pub(crate) mod reconnect;
pub(crate) mod refusals;
pub(crate) mod shared_connection;

scenarios![
    the_page_shows_every_event_once_and_filters_by_category,
    texts_of_producers_are_displayed_and_never_executed,
    tokens_are_renewed_on_the_open_connection,
];

const STATE: &str = "document.getElementById('state').dataset.state";
const CONNECTION: &str = "document.getElementById('state').dataset.connection";
/// The notifications on the page, oldest first.
const SHOWN: &str = "[...document.querySelectorAll('#notifications > li')]
    .map((item) => JSON.parse(item.querySelector('pre').textContent)).reverse()";

/// Serves a page that connects to the first gateway of the stack.
async fn start_site(
    stack: &Stack<impl RedisTopology>,
    content: SiteContent,
) -> anyhow::Result<Site> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Site::start(listener, stack, content).await
}

/// Opens the page and waits until it is connected.
async fn open_page(window: &mut Window<'_>, site: &Site) -> anyhow::Result<Tab> {
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    Ok(tab)
}

/// Checks that the page shows these events within the limit, each once and in order.
async fn expect_shown(
    tab: &mut Tab,
    user: &str,
    sent: &[String],
    limit: Duration,
) -> anyhow::Result<()> {
    let complete = format!("{SHOWN}.length >= {}", sent.len());
    let waited = tab.wait_for_value(&complete, json!(true), limit).await;
    let mut checker = DeliveryChecker::default();
    for id in sent {
        checker.record_sent(user, id);
    }
    for notification in
        tab.value(SHOWN).await?.as_array().context("the page lists notifications")?
    {
        checker.record_delivered(user, notification)?;
    }
    checker.violations().ensure_none()?;
    waited
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

/// The script that clicks on an element.
fn click(selector: &str) -> String {
    format!("document.querySelector({}).click()", json!(selector))
}

async fn the_page_shows_every_event_once_and_filters_by_category(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    tab.value(&click("#all")).await?;
    tab.wait_for_value(&format!("{SHOWN}.length"), json!(DESIGNED), TIMEOUT).await?;
    let shown = tab.value(SHOWN).await?;
    let mut names: Vec<&str> =
        shown.as_array().into_iter().flatten().filter_map(|n| n["event"].as_str()).collect();
    names.sort_unstable();
    let cases = events::designed()?;
    let mut designed: Vec<&str> = cases.iter().map(events::Case::name).collect();
    designed.sort_unstable();
    ensure!(names == designed, "expected {designed:?}, got {names:?}");
    let timed = "[...document.querySelectorAll('.latency')].filter(l => l.textContent).length";
    tab.wait_for_value(timed, json!(DESIGNED), TIMEOUT).await?;
    let countdown = "document.querySelector('.countdown:not([hidden])').textContent";
    let left = tab.value(countdown).await?;
    let starts = |left: &str| ["24:00:00", "23:59:"].iter().any(|time| left.starts_with(time));
    ensure!(left.as_str().is_some_and(starts), "expected a countdown from 24 h, got {left}");
    let hidden =
        "[...document.querySelectorAll('#notifications > li')].filter(i => i.hidden).length";
    tab.value(&click("#filters button:last-child")).await?;
    tab.wait_for_value(hidden, json!(3), TIMEOUT).await?;
    tab.value(&click("#filters button:last-child")).await?;
    tab.wait_for_value(hidden, json!(0), TIMEOUT).await
}

async fn texts_of_producers_are_displayed_and_never_executed(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    let name = "<script>ran = 1</script><img src=x onerror='ran = 1'>&amp;.docx";
    let mut event = events::designed()?[0].fresh(&user)?;
    event.envelope["data"]["filename"] = name.into();
    stack.producer.send(&event).await?;
    expect_shown(&mut tab, &user, &[event.id], TIMEOUT).await?;
    let message = tab.value("document.querySelector('.message').textContent").await?;
    let expected = format!("The file {name} was added");
    ensure!(message == expected, "expected the text {expected}, got {message}");
    let elements = "document.querySelectorAll('#notifications :is(script, img)').length";
    ensure!(tab.value(elements).await? == 0, "the text has become markup");
    ensure!(tab.value("typeof ran").await? == "undefined", "a script in the text has run");
    Ok(())
}

async fn tokens_are_renewed_on_the_open_connection(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user).token_lifetime(4)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    let connection = tab.value(CONNECTION).await?;
    ensure!(connection.is_string(), "expected a connection id, got {connection}");
    // The page itself, the first token, the unread badge, and renewals for longer than any token is
    // valid.
    let expected = 3 + 3;
    eventually("the tokens are renewed", TIMEOUT, async || {
        ensure!(site.sessions() >= expected, "{} of {expected} requests", site.sessions());
        Ok(())
    })
    .await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    expect_shown(&mut tab, &user, &ids(&events), TIMEOUT).await?;
    let now = tab.value(CONNECTION).await?;
    ensure!(now == connection, "expected the same connection {connection}, got {now}");
    Ok(())
}
