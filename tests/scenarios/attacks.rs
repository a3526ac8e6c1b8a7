//! Attacks on the gateway from the internet: each is refused in bounded time and memory, and other
//! users are served meanwhile.

pub(crate) mod flood;
pub(crate) mod frames;
pub(crate) mod requests;
pub(crate) mod tokens;
pub(crate) mod user_ids;

use anyhow::ensure;
use harness::stack::Stack;

/// Largest growth of the gateway's memory during an attack, in bytes: noise of its allocator.
const MAX_GROWTH: f64 = 16.0 * 1024.0 * 1024.0;

/// Resident memory of the first gateway, in bytes.
async fn memory(stack: &Stack) -> anyhow::Result<f64> {
    let bytes = stack.gateways[0].metric("process_resident_memory_bytes").await?;
    ensure!(bytes > 0.0, "the gateway reports no memory; it does so on Linux only");
    Ok(bytes)
}
