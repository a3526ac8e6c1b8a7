//! Faults of Redis, Kafka, the network and the services, injected while events flow. Each fault
//! may delay events; none may be lost, duplicated or reordered, and no socket may be closed.

pub(crate) mod broker_outages;
pub(crate) mod consumer_group;
pub(crate) mod gateways;
pub(crate) mod kafka;
pub(crate) mod network;
pub(crate) mod random;
pub(crate) mod redis;
pub(crate) mod restoring;
pub(crate) mod silent_subscription;
pub(crate) mod upgrade;

use harness::{http, stack::Stack};

/// Prints how long the gateways took to close gaps after Redis had returned, by their own metrics.
async fn print_gap_repairs(fault: &str, stack: &Stack) -> anyhow::Result<()> {
    for gateway in &stack.gateways {
        let page = gateway.metrics().await?;
        let value = |name: &str| http::metric(&page, name).unwrap_or_default();
        let repairs = value("gateway_gap_repair_seconds_count");
        let mean = value("gateway_gap_repair_seconds_sum") / repairs.max(1.0) * 1e3;
        let within_1s = value(r#"gateway_gap_repair_seconds_bucket{le="1"}"#);
        let messages = value("gateway_messages_repaired_total");
        eprintln!(
            "{fault}: {repairs} gap repairs, mean {mean:.0} ms, {within_1s} within 1 s, \
             {messages} notifications read from streams"
        );
    }
    Ok(())
}
