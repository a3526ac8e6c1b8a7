//! What the watermarks in Redis say about the progress of workers.

use anyhow::ensure;
use harness::{eventually, stack::Stack};
use redis::cmd;

use crate::under_load::RECOVERY_TIMEOUT;

/// The hash of the watermarks on a single server.
pub(super) const WATERMARKS: &str = "ws:watermark:0";

/// Waits until Redis has a watermark of each partition. A worker that has read nothing of a
/// partition writes the first one when the client reports its position.
pub(super) async fn wait_for_watermarks(stack: &Stack) -> anyhow::Result<()> {
    eventually("each partition has a watermark", RECOVERY_TIMEOUT, async || {
        let mut assigned = 0.0;
        for worker in &stack.workers {
            let partitions = worker.metric("ingest_worker_assigned_partitions").await?;
            // During a rebalance, not all partitions are assigned.
            ensure!(partitions > 0.0, "{} has no partition yet", worker.name());
            assigned += partitions;
        }
        let mut fields = cmd("HLEN");
        let written: f64 =
            fields.arg(WATERMARKS).query_async(&mut stack.redis.connection().await?).await?;
        // One more field says since when Redis has data.
        ensure!(written > assigned, "{} of {assigned} have", written - 1.0);
        Ok(())
    })
    .await
}

/// Waits until no partition is being read again to rebuild histories.
pub(super) async fn wait_until_rebuilt(stack: &Stack) -> anyhow::Result<()> {
    wait_for_watermarks(stack).await?;
    eventually("the histories are rebuilt", RECOVERY_TIMEOUT, async || {
        let mut values = cmd("HVALS");
        let values: Vec<String> =
            values.arg(WATERMARKS).query_async(&mut stack.redis.connection().await?).await?;
        let rebuilding = values.iter().filter(|value| value.contains("history-until")).count();
        ensure!(rebuilding == 0, "{rebuilding} partitions are not");
        Ok(())
    })
    .await
}
