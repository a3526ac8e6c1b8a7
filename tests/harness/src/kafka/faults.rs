//! Faults of Apache Kafka: a broker that freezes, is killed, or whose disk fails.

use std::{future::Future, path::Path};

use anyhow::bail;

use super::{Broker, Kafka, apache::Apache, log_segment};
use crate::process::Signal;

impl Kafka {
    /// Suspends the broker process (`true`) or resumes it.
    ///
    /// # Errors
    /// When this is not Apache Kafka started by the tests.
    pub async fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        self.apache()?.signal(if frozen { Signal::STOP } else { Signal::CONT }).await
    }

    /// Kills the broker, waits for `downtime`, and restarts it on the same port with its data.
    ///
    /// # Errors
    /// When this is not Apache Kafka started by the tests, or it does not restart in time.
    pub async fn kill_and_restart_after(
        &self,
        downtime: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        self.apache()?.kill_and_restart_after(downtime).await
    }

    /// Stops the broker, flips a byte in the records of the batch that begins at `offset`, as a
    /// failing disk does, and restarts it.
    ///
    /// # Errors
    /// When this is not Apache Kafka started by the tests, or has no such batch.
    pub async fn damage_batch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> anyhow::Result<()> {
        let folder = format!("{topic}-{partition}");
        let damage = |data: &Path| log_segment::damage(&data.join(&folder), offset);
        self.apache()?.stop_and_restart_after(damage).await
    }

    pub(super) fn apache(&self) -> anyhow::Result<&Apache> {
        match &self.broker {
            Broker::Apache(apache) => Ok(apache),
            Broker::External | Broker::Embedded(_) => {
                bail!("faults need Apache Kafka started by the tests")
            }
        }
    }
}
