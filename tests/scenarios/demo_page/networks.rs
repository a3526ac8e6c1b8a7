//! Pages behind proxies that cut or hold back connections, in Chromium: the first notification comes
//! within seconds, and none is lost or shown twice. They need Node.js, which bundles the client.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    inspection_proxy::{InspectionProxy, Restrictions},
    stack::Layout,
};
use serde_json::json;
use support::{browser::Tab, delivery_checker::DeliveryChecker};
use tokio::time::{Instant, sleep};

use super::{
    own_page::{content, fragment},
    start_site,
};
use crate::{
    assertions::wait_for_published, context::Context, run_profile::RunProfile, runner::scenarios,
};

scenarios![
    a_page_behind_a_proxy_that_refuses_upgrades_misses_nothing,
    a_page_behind_a_proxy_that_also_holds_back_streams_misses_nothing,
    a_page_behind_a_proxy_that_cuts_every_connection_misses_nothing,
    a_page_behind_a_proxy_that_allows_short_requests_only_misses_nothing,
];

/// Longest time from the opening of a page to its first notification.
const FIRST_NOTIFICATION: Duration = Duration::from_secs(5);
/// Longest time until a page shows everything: the longest reconnect delay, with time to spare.
const COMPLETE: Duration = Duration::from_secs(40);

/// Records every notification, and the transports.
const PAGE: &str = "
const [url, token] = decodeURIComponent(location.hash.slice(1)).split(' ');
const client = live.connect({ url, token: () => token, transports: live.ladder() });
const received = [], transports = [];
client.onStatus(({ transport }) => transport && transports.push(transport));
client.onAny((notification) => received.push(notification));";

/// Checks that the page shows these events, each once.
async fn expect_each_once(tab: &mut Tab, user: &str, sent: &[String]) -> anyhow::Result<()> {
    let mut checker = DeliveryChecker::default();
    for id in sent {
        checker.record_sent(user, id);
    }
    let is_complete = format!("received.length >= {}", sent.len());
    tab.wait_for_value(&is_complete, json!(true), COMPLETE).await?;
    for notification in tab.value("received").await?.as_array().context("a list")? {
        checker.record_delivered(user, notification)?;
    }
    checker.violations().ensure_none()
}

/// Opens a page behind a proxy, sends events while a gateway is killed, and checks what it shows.
async fn expect_complete(
    context: &Context,
    restrictions: Restrictions,
    transport: &str,
) -> anyhow::Result<()> {
    let browser = context.browser().await?;
    let (mut stack, user) = (context.own_stack(&Layout::default()).await?, fresh_user());
    let proxy = InspectionProxy::start(stack.gateways[0].address(), restrictions).await?;
    let files = content(&user, PAGE).await?.gateway(proxy.address());
    let site = start_site(&stack, files).await?;
    let mut window = browser.window().await?;
    let case = &events::designed()?[0];
    let mut sent = Vec::new();
    let url = format!("{}/page.html#{}", site.origin(), fragment(&site)?);
    let opened = Instant::now();
    let mut tab = window.open(&url).await?;
    tab.wait_for_value("client.status.state", json!("open"), FIRST_NOTIFICATION).await?;
    let (rounds, pause) =
        RunProfile::current().pick((3, Duration::ZERO), (12, Duration::from_secs(5)));
    for round in 0..rounds {
        for _ in 0..5 {
            let event = case.fresh(&user)?;
            stack.producer.send(&event).await?;
            sent.push(event.id);
        }
        if round == 0 {
            tab.wait_for_value("received.length > 0", json!(true), FIRST_NOTIFICATION).await?;
            let took = opened.elapsed();
            eprintln!("the first notification came {took:?} after the page was opened");
            ensure!(took < FIRST_NOTIFICATION, "the first notification took {took:?}");
            let name = tab.value("client.status.transport").await?;
            ensure!(name == transport, "expected {transport}, got {name}");
        } else {
            stack.gateways[0].kill().await?;
            stack.gateways[0].restart().await?;
        }
        sleep(pause).await;
    }
    wait_for_published(&stack, &user, sent.len()).await?;
    expect_each_once(&mut tab, &user, &sent).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_page_behind_a_proxy_that_refuses_upgrades_misses_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let restrictions = Restrictions { refuses_upgrades: true, ..Restrictions::default() };
    expect_complete(context, restrictions, "event_stream").await
}

async fn a_page_behind_a_proxy_that_also_holds_back_streams_misses_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let restrictions =
        Restrictions { refuses_upgrades: true, buffers_streams: true, longest_connection: None };
    expect_complete(context, restrictions, "long_poll").await
}

async fn a_page_behind_a_proxy_that_cuts_every_connection_misses_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let longest_connection = RunProfile::current().pick(2, 10);
    let longest_connection = Some(Duration::from_secs(longest_connection));
    let restrictions = Restrictions { longest_connection, ..Restrictions::default() };
    expect_complete(context, restrictions, "websocket").await
}

async fn a_page_behind_a_proxy_that_allows_short_requests_only_misses_nothing(
    context: &Context,
) -> anyhow::Result<()> {
    let restrictions = Restrictions {
        refuses_upgrades: true,
        buffers_streams: true,
        longest_connection: Some(Duration::from_secs(30)),
    };
    expect_complete(context, restrictions, "long_poll").await
}
