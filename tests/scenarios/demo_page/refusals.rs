//! The demo page after the gateway has refused it: it connects by itself once the cause has passed,
//! although its first tokens were refused.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use demo::{Site, SiteContent};
use harness::{
    events::{self, fresh_user},
    eventually,
    proxy::Fault,
    redis::RedisTopology,
    stack::{Layout, Stack, TIMEOUT},
    token,
};
use serde_json::json;
use support::browser::Tab;

use super::{STATE, expect_shown, ids, open_page, start_site};
use crate::{
    context::Context,
    runner::scenarios,
    signing_keys::{KeyPair, start_issuer},
};

scenarios![
    a_token_from_an_issuer_whose_clock_is_ahead_is_accepted_in_time,
    a_token_issued_in_the_second_of_a_revocation_is_replaced,
    a_token_of_a_rotated_key_is_accepted_once_the_key_is_known,
    a_stale_token_after_a_suspension_is_replaced,
    a_user_at_the_connection_limit_connects_when_another_connection_closes,
];

const STATE_TEXT: &str = "document.getElementById('state').textContent";

/// Waits until `count` further tokens were issued.
async fn wait_for_tokens(site: &Site, count: u64) -> anyhow::Result<()> {
    let expected = site.sessions() + count;
    eventually("the page asks for tokens", TIMEOUT, async || {
        ensure!(site.sessions() >= expected, "{} of {expected} tokens", site.sessions());
        Ok(())
    })
    .await
}

/// Checks that the page connects and then receives events.
async fn expect_healed(
    stack: &Stack<impl RedisTopology>,
    tab: &mut Tab,
    user: &str,
) -> anyhow::Result<()> {
    tab.wait_for_value(STATE, json!("open"), TIMEOUT).await?;
    let events = events::one_of_each(user)?;
    stack.producer.send_all(&events).await?;
    expect_shown(tab, user, &ids(&events), TIMEOUT).await
}

async fn a_token_from_an_issuer_whose_clock_is_ahead_is_accepted_in_time(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut claims = token::claims(&user, 3600);
    // More than `JWT_LEEWAY` (5 s).
    claims["iat"] = (jiff::Timestamp::now().as_second() + 10).into();
    site.set_token(Some(token::sign(&claims, &stack.secret)?));
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("waiting"), TIMEOUT).await?;
    let text = tab.value(STATE_TEXT).await?;
    ensure!(
        text == "Authentication token is not valid yet, trying again",
        "unexpected text {text}"
    );
    expect_healed(stack, &mut tab, &user).await
}

async fn a_token_issued_in_the_second_of_a_revocation_is_replaced(
    context: &Context,
) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    site.set_token(Some(site.fresh_token()?));
    let revoke = ["revoke", "--user", &user, "--for", "1h"];
    stack.gateways[0].run_command(&revoke, "").await?;
    tab.wait_for_value(STATE, json!("waiting"), TIMEOUT).await?;
    let text = tab.value(STATE_TEXT).await?;
    ensure!(text == "Authentication token was revoked, trying again", "unexpected text {text}");
    site.set_token(None);
    expect_healed(stack, &mut tab, &user).await
}

async fn a_token_of_a_rotated_key_is_accepted_once_the_key_is_known(
    context: &Context,
) -> anyhow::Result<()> {
    let browser = context.browser().await?;
    let [old, new] = KeyPair::old_and_new()?;
    let text = Arc::new(Mutex::new(json!({"keys": [old.jwk()?]}).to_string()));
    let issuer = start_issuer(&text).await?;
    let algorithms = "HS256,RS256,EdDSA".to_owned();
    let gateway_settings =
        vec![("JWT_JWKS_URL", issuer.url("/jwks.json")), ("JWT_ALGORITHM", algorithms)];
    let layout = Layout { gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let site = start_site(&stack, SiteContent::demo(&user)).await?;
    site.set_token(Some(new.token_for(&user, new.id)?));
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    tab.wait_for_value(STATE, json!("waiting"), TIMEOUT).await?;
    let both = json!({"keys": [old.jwk()?, new.jwk()?]}).to_string();
    *text.lock().unwrap_or_else(PoisonError::into_inner) = both;
    expect_healed(&stack, &mut tab, &user).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_stale_token_after_a_suspension_is_replaced(context: &Context) -> anyhow::Result<()> {
    let (browser, stack, user) = (context.browser().await?, context.stack().await?, fresh_user());
    let site = start_site(stack, SiteContent::demo(&user)).await?;
    let mut window = browser.window().await?;
    let mut tab = open_page(&mut window, &site).await?;
    let events = events::one_of_each(&user)?;
    // The page sleeps: its connection ends, and the token that its app has cached expires.
    site.set_token(Some(token::sign(&token::claims(&user, -60), &stack.secret)?));
    site.network().set_fault(Fault::Reset);
    stack.producer.send_all(&events).await?;
    site.network().set_fault(Fault::None);
    // Both the first and its replacement are refused.
    wait_for_tokens(&site, 3).await?;
    site.set_token(None);
    expect_shown(&mut tab, &user, &ids(&events), TIMEOUT).await
}

async fn a_user_at_the_connection_limit_connects_when_another_connection_closes(
    context: &Context,
) -> anyhow::Result<()> {
    let browser = context.browser().await?;
    let gateway_settings = vec![("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "1".to_owned())];
    let layout = Layout { gateway_settings, ..Layout::default() };
    let (stack, user) = (context.own_stack(&layout).await?, fresh_user());
    let site = start_site(&stack, SiteContent::demo(&user)).await?;
    let mut other = stack.client(&user).await?;
    let mut window = browser.window().await?;
    let mut tab = window.open(site.origin()).await?;
    // The holder answers pings, so the gateway does not replace it.
    let refused = "Connection limit exceeded, trying again";
    tokio::select! {
        waited = tab.wait_for_value(STATE_TEXT, json!(refused), TIMEOUT) => waited?,
        frame = other.next_frame(TIMEOUT) => anyhow::bail!("unexpected frame {frame:?}"),
    }
    drop(other);
    expect_healed(&stack, &mut tab, &user).await?;
    stack.shut_down_and_check_logs().await
}
