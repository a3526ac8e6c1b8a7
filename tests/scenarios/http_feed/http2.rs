//! Events over HTTP behind a proxy that speaks HTTP/2 to its clients. Needs Node.js, which has both
//! ends of HTTP/2.

use anyhow::{Context as _, ensure};
use harness::{events::fresh_user, workspace};
use serde_json::Value;
use support::node;

use super::{expect_events, publish};
use crate::{context::Context, requirements, runner::scenarios};

scenarios![streams_polls_and_reads_pass_a_proxy_on_one_connection_of_http_2];

async fn streams_polls_and_reads_pass_a_proxy_on_one_connection_of_http_2(
    context: &Context,
) -> anyhow::Result<()> {
    requirements::node()?;
    let (stack, user) = (context.stack().await?, fresh_user());
    let events = publish(stack, &user, 3).await?;
    let first = stack.stream(&user).await?.swap_remove(0).0;
    let (gateway, token) = (stack.gateways[0].address().to_string(), stack.token(&user)?);
    let folder = workspace::root().join("tests/scenarios/http_feed");
    let printed = node::run(&folder, "node", &["http2.mjs", &gateway, &token, &first]).await?;
    let received: Value = serde_json::from_str(&printed)?;
    let frames = received["frames"].as_array().context("no frames")?;
    let complete = frames[0]["data"]["resume"] == "complete";
    ensure!(complete && frames.len() == 4, "expected a complete resume, got {printed}");
    expect_events(&frames[1..3], &events[1..]).context("of the stream")?;
    ensure!(frames[3]["data"] == received["read"], "expected the answer in the stream: {printed}");
    let polled = received["poll"]["frames"].as_array().context("no frames of the poll")?;
    expect_events(polled, &events[1..]).context("of the poll")?;
    ensure!(received["read"]["up_to"] == *first, "expected {first} as read: {printed}");
    Ok(())
}
