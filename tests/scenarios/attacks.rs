//! What somebody on the internet may try at the gateway. Each scenario is named after an attack.

pub(crate) mod flood;
pub(crate) mod frames;
pub(crate) mod requests;
pub(crate) mod tokens;
pub(crate) mod user_ids;

use anyhow::Context as _;
use harness::{http, stack::Stack};

/// A series of the first gateway; 0 where it is not there yet.
async fn count(stack: &Stack, series: &str) -> anyhow::Result<f64> {
    let page = stack.gateways[0].metrics().await?;
    Ok(http::metric(&page, series).unwrap_or_default())
}

/// The memory of the first gateway, in bytes.
async fn memory(stack: &Stack) -> anyhow::Result<f64> {
    let page = stack.gateways[0].metrics().await?;
    http::metric(&page, "process_resident_memory_bytes").context("Linux says how much memory it is")
}
