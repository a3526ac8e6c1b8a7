//! The controls of the demo page: unread badge, transport and language.

use demo::SiteContent;
use harness::{
    events::{self, fresh_user},
    stack::TIMEOUT,
};
use serde_json::json;

use super::{click, expect_shown, ids, open_page, start_site};
use crate::{context::Context, runner::scenarios};

scenarios![
    the_unread_badge_agrees_in_two_tabs,
    each_transport_delivers_every_event_once,
    the_page_and_its_notifications_change_language,
];

const UNREAD: &str = "document.getElementById('unread').textContent";
const DETAIL: &str = "document.getElementById('detail').textContent";

/// The script that chooses a value, as a user does.
fn choose(select: &str, value: &str) -> String {
    format!(
        "select = document.querySelector({}); select.value = {}; \
         select.dispatchEvent(new Event('change'))",
        json!(select),
        json!(value)
    )
}

async fn the_unread_badge_agrees_in_two_tabs(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut first = open_page(&mut window, &site).await?;
    let mut second = open_page(&mut window, &site).await?;
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    let unread = json!(format!("{} unread", events.len()));
    for tab in [&mut first, &mut second] {
        tab.wait_for_value(UNREAD, unread.clone(), TIMEOUT).await?;
    }
    second.value(&click("#read")).await?;
    for tab in [&mut first, &mut second] {
        tab.wait_for_value(UNREAD, json!("0 unread"), TIMEOUT).await?;
        tab.wait_for_value("document.title", json!("Live notifications"), TIMEOUT).await?;
    }
    stack.producer.send(&events::designed()?[0].fresh(&user)?).await?;
    for tab in [&mut first, &mut second] {
        tab.wait_for_value(UNREAD, json!("1 unread"), TIMEOUT).await?;
        tab.wait_for_value("document.title", json!("(1) Live notifications"), TIMEOUT).await?;
    }
    Ok(())
}

async fn each_transport_delivers_every_event_once(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut first = open_page(&mut window, &site).await?;
    let mut second = open_page(&mut window, &site).await?;
    let mut sent = Vec::new();
    for (transport, name) in [
        ("event_stream", "Event stream"),
        ("long_poll", "Long poll"),
        ("automatic", "WebSocket"),
        ("websocket", "WebSocket"),
    ] {
        // The other tab, which may own the connection, follows.
        first.value(&choose("#transport", transport)).await?;
        let events = events::one_of_each(&user)?;
        stack.producer.send_all(&events).await?;
        sent.extend(ids(&events));
        for tab in [&mut first, &mut second] {
            expect_shown(tab, &user, &sent, TIMEOUT).await?;
            tab.wait_for_value(DETAIL, json!(format!("over {name}")), TIMEOUT).await?;
        }
    }
    Ok(())
}

async fn the_page_and_its_notifications_change_language(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    let mut event = events::designed()?[0].fresh(&user)?;
    event.envelope["data"]["filename"] = "a.docx".into();
    stack.producer.send(&event).await?;
    let texts = "['#notifications .message', '#unread', '#filters button', '#read']
        .map((selector) => document.querySelector(selector)?.textContent)";
    let english = ["The file a.docx was added", "1 unread", "Batch progress", "Mark all read"];
    tab.wait_for_value(texts, json!(english), TIMEOUT).await?;
    tab.value(&choose("#language", "sv")).await?;
    let swedish =
        ["Filen a.docx har lagts till", "1 oläst", "Omgångens förlopp", "Markera alla som lästa"];
    tab.wait_for_value(texts, json!(swedish), TIMEOUT).await?;
    tab.wait_for_value("document.documentElement.lang", json!("sv"), TIMEOUT).await
}
