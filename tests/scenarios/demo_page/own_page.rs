//! Pages other than the demo's that use the client, in Chromium. They need Node.js, which bundles
//! the client.

use anyhow::ensure;
use demo::{Site, SiteContent};
use harness::{
    events::{self, fresh_user},
    stack::TIMEOUT,
    workspace,
};
use serde_json::json;
use support::node;

use super::{ids, start_site};
use crate::{context::Context, requirements, runner::scenarios};

scenarios![
    a_sandboxed_frame_connects_itself,
    the_position_of_a_filtered_page_advances_over_what_its_filter_holds_back,
];

/// Returns a site with an empty `index.html` and with `page.html`, which runs the script after the
/// client was loaded as `live`.
pub(super) async fn content(user: &str, script: &str) -> anyhow::Result<SiteContent> {
    requirements::node()?;
    let folder = workspace::temporary("page-")?;
    let bundle = format!("--outfile={}", folder.path().join("live.js").display());
    let arguments =
        ["esbuild", "src/index.ts", "--bundle", "--format=iife", "--global-name=live", &bundle];
    node::run(&node::client(), "npx", &arguments).await?;
    std::fs::write(folder.path().join("page.js"), script)?;
    let scripts = "<!doctype html><script src=/live.js></script><script src=/page.js></script>";
    std::fs::write(folder.path().join("page.html"), scripts)?;
    std::fs::write(folder.path().join("index.html"), "<!doctype html>")?;
    SiteContent::folder(user, folder.path())
}

/// The fragment of `page.html` with address and token.
pub(super) fn fragment(site: &Site) -> anyhow::Result<String> {
    Ok(format!("ws://{}/ws {}", site.network().address(), site.fresh_token()?))
}

/// Reports each state and event to the parent.
const FRAME: &str = "
const [url, token] = decodeURIComponent(location.hash.slice(1)).split(' ');
const client = live.connect({ url, token: () => token, shareAs: 'one user' });
client.onStatus(({ state }) => parent.postMessage(state, '*'));
client.onAny(({ event_id }) => parent.postMessage(event_id, '*'));
navigator.locks.request('any', () => {}).catch(({ name }) => parent.postMessage(name, '*'));";

async fn a_sandboxed_frame_connects_itself(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, content(&user, FRAME).await?).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(&format!("{}/index.html", site.origin())).await?;
    tab.wait_for_value("document.readyState", json!("complete"), TIMEOUT).await?;
    let source = json!(format!("/page.html#{}", fragment(&site)?));
    tab.value(&format!(
        "received = [];
         onmessage = ({{ data }}) => received.push(data);
         frame = document.createElement('iframe');
         frame.sandbox = 'allow-scripts';
         frame.src = {source};
         document.body.append(frame)"
    ))
    .await?;
    tab.wait_for_value("received.includes('open')", json!(true), TIMEOUT).await?;
    let denied = tab.value("received.includes('SecurityError')").await?;
    ensure!(denied == true, "expected that the frame may not use Web Locks");
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    for id in ids(&events) {
        let times = format!("received.filter((id) => id === {}).length", json!(id));
        tab.wait_for_value(&times, json!(1), TIMEOUT).await?;
    }
    Ok(())
}

/// Receives one category of six.
const FILTERED: &str = "
const [url, token] = decodeURIComponent(location.hash.slice(1)).split(' ');
const client = live.connect({ url, token: () => token, categories: ['class_management'] });
const received = [];
client.onAny(({ category }) => received.push(category));";

async fn the_position_of_a_filtered_page_advances_over_what_its_filter_holds_back(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, content(&user, FILTERED).await?).await?;
    let mut window = browser.window().await?;
    let page = format!("{}/page.html#{}", site.origin(), fragment(&site)?);
    let mut tab = window.open(&page).await?;
    tab.wait_for_value("client.status.state", json!("open"), TIMEOUT).await?;
    let mut excluded = events::one_of_each(&user)?;
    excluded.truncate(3);
    // An observer without a filter sees the positions.
    let mut observer = stack.client(&user).await?;
    stack.producer.send_all(&excluded).await?;
    let mut newest = json!(null);
    for _ in &excluded {
        newest = observer.next_notification(TIMEOUT).await?["id"].clone();
    }
    tab.wait_for_value("Object.values(sessionStorage)[0]", newest, TIMEOUT).await?;
    ensure!(tab.value("received").await? == json!([]), "expected that the filter holds all back");
    Ok(())
}
