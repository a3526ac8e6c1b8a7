//! The appearance of the demo page: light, dark and on a phone. `SCREENSHOTS=1` writes the pictures
//! of the README.

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use demo::SiteContent;
use harness::{
    events::{DESIGNED, fresh_user},
    stack::TIMEOUT,
    workspace,
};
use serde_json::json;
use support::{browser::Tab, node};

use super::{SHOWN, STATE, click, start_site};
use crate::{context::Context, requirements, runner::scenarios};

scenarios![
    the_page_is_accessible_and_not_too_wide_in_light_dark_and_phone,
    the_react_and_svelte_examples_count_down_to_the_deadline,
];

/// What axe finds: contrast, names, labels, landmarks, language.
const VIOLATIONS: &str = "axe.run().then(({ violations }) =>
    violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]))";
/// Whether the page is wider than the screen.
const TOO_WIDE: &str = "document.documentElement.scrollWidth > innerWidth";

async fn the_page_is_accessible_and_not_too_wide_in_light_dark_and_phone(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack) = (context.browser().await?, context.stack().await?);
    requirements::node()?;
    let axe = std::fs::read_to_string(node::client().join("node_modules/axe-core/axe.min.js"))?;
    let site = start_site(stack, SiteContent::demo(&fresh_user())).await?;
    let mut window = browser.window().await?;
    for (name, scheme, size) in [
        ("light", "light", (1100, 800)),
        ("dark", "dark", (1100, 800)),
        ("phone", "light", (390, 844)),
    ] {
        // The screen is set before the page is loaded.
        let mut tab = window.open("about:blank").await?;
        set_screen(&mut tab, scheme, size).await?;
        tab.call("Page.navigate", json!({"url": site.origin()})).await?;
        tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
        show_all(&mut tab).await?;
        let wide = tab.value(TOO_WIDE).await?;
        ensure!(wide == false, "{name}: the page is wider than the screen");
        tab.value(&axe).await?;
        let violations = tab.value(VIOLATIONS).await?;
        ensure!(violations == json!([]), "{name}: axe finds {violations}");
        if std::env::var_os("SCREENSHOTS").is_some() {
            let picture = STANDARD.decode(tab.screenshot().await?).context("a picture")?;
            std::fs::write(workspace::root().join(format!("tests/demo/{name}.png")), picture)?;
        }
    }
    Ok(())
}

async fn the_react_and_svelte_examples_count_down_to_the_deadline(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    requirements::node()?;
    let pages = workspace::temporary("examples-")?;
    let folder = pages.path().to_str().context("a path is text")?;
    let build = ["vite", "build", "--config", "examples/vite.config.ts", "--outDir", folder];
    node::run(&node::client(), "npx", &build).await?;
    let site = start_site(stack, SiteContent::folder(&user, pages.path())?).await?;
    let mut window = browser.window().await?;
    for name in ["react", "svelte"] {
        let mut tab = window.open(&format!("{}/{name}/index.html", site.origin())).await?;
        tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
        tab.value(&click("button")).await?;
        for second in ["23:59:58", "23:59:57"] {
            let counts = format!(
                "document.querySelector('.countdown')?.textContent <= '{second} left to confirm'"
            );
            tab.wait_for_value(&counts, json!(true), TIMEOUT).await.context(name)?;
        }
        window.close(tab).await?;
    }
    Ok(())
}

/// Sends each event once the one before is on the page, and the one with a countdown last.
async fn show_all(tab: &mut Tab) -> anyhow::Result<()> {
    let press = |number| format!("document.querySelectorAll('#events button')[{number}].click()");
    for number in 0..DESIGNED {
        tab.value(&press(number)).await?;
        tab.wait_for_value(&format!("{SHOWN}.length"), json!(number + 1), TIMEOUT).await?;
    }
    let counted = "[...document.querySelectorAll('#events button')]
        .findIndex((button) => button.textContent === 'Student matches suggested')";
    let counted = tab.value(counted).await?.as_u64().context("there is such a button")?;
    tab.value(&press(usize::try_from(counted)?)).await?;
    tab.wait_for_value(&format!("{SHOWN}.length"), json!(DESIGNED + 1), TIMEOUT).await
}

async fn set_screen(
    tab: &mut Tab,
    scheme: &str,
    (width, height): (u32, u32),
) -> anyhow::Result<()> {
    let feature = json!({"name": "prefers-color-scheme", "value": scheme});
    let still = json!({"name": "prefers-reduced-motion", "value": "reduce"});
    tab.call("Emulation.setEmulatedMedia", json!({"features": [feature, still]})).await?;
    let size = json!({
        "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500,
    });
    tab.call("Emulation.setDeviceMetricsOverride", size).await?;
    Ok(())
}
