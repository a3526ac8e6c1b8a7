//! The slots of a cluster: which master serves a key, and moving a slot to another one.

use std::{collections::BTreeSet, ops::RangeInclusive};

use anyhow::{Context as _, ensure};

use super::{CONVERGE_TIMEOUT, Cluster, command, connect};
use crate::eventually;

impl Cluster {
    /// Returns the index of the master that serves a slot.
    ///
    /// # Errors
    /// When no running node knows one.
    pub async fn node_of(&self, slot: u16) -> anyhow::Result<usize> {
        let served = self.served_slots().await?;
        let of_slot = served.into_iter().find(|(slots, _)| slots.contains(&slot));
        of_slot.map(|(_, node)| node).with_context(|| format!("no node serves slot {slot}"))
    }

    /// Returns the slots that masters serve, with the index of the master.
    async fn served_slots(&self) -> anyhow::Result<Vec<(RangeInclusive<u16>, usize)>> {
        let mut query = redis::cmd("CLUSTER");
        query.arg("SLOTS");
        let ranges: Vec<Vec<redis::Value>> =
            query.query_async(&mut self.any_connection().await?).await?;
        let served = |range: Vec<redis::Value>| {
            let mut fields = range.into_iter();
            let mut next = || fields.next().context("an incomplete range in CLUSTER SLOTS");
            let first: u16 = redis::from_redis_value(next()?)?;
            let last: u16 = redis::from_redis_value(next()?)?;
            let mut master: Vec<redis::Value> = redis::from_redis_value(next()?)?;
            let port: u16 = redis::from_redis_value(master.swap_remove(1))?;
            let node = self.nodes.iter().position(|node| node.client_port == port);
            Ok((first..=last, node.with_context(|| format!("unknown node at port {port}"))?))
        };
        ranges.into_iter().map(served).collect()
    }

    /// Returns the slot of a key.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn slot(&self, key: &str) -> anyhow::Result<u16> {
        let mut query = redis::cmd("CLUSTER");
        query.arg("KEYSLOT").arg(key);
        Ok(query.query_async(&mut self.any_connection().await?).await?)
    }

    /// Starts the migration of a slot; its keys are not moved yet.
    ///
    /// # Errors
    /// When a node returns an error.
    pub async fn begin_migration(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (slot, from, to) = (slot.to_string(), &self.nodes[from], &self.nodes[to]);
        command(to.port, &["SETSLOT", &slot, "IMPORTING", &from.id]).await?;
        command(from.port, &["SETSLOT", &slot, "MIGRATING", &to.id]).await
    }

    /// Moves the keys of a slot and ends the migration.
    ///
    /// # Errors
    /// When a node returns an error.
    pub async fn end_migration(&self, slot: u16, from: usize, to: usize) -> anyhow::Result<()> {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let mut source = connect(from.port).await?;
        loop {
            let mut query = redis::cmd("CLUSTER");
            query.arg("GETKEYSINSLOT").arg(slot).arg(100);
            let keys: Vec<String> = query.query_async(&mut source).await?;
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(to.port).arg("").arg(0).arg(5_000).arg("KEYS").arg(keys);
            migrate.exec_async(&mut source).await?;
        }
        // The new owner first, so that the slot always has one.
        for node in [to, from] {
            command(node.port, &["SETSLOT", &slot.to_string(), "NODE", &to.id]).await?;
        }
        eventually("all masters know the epoch of the new owner", CONVERGE_TIMEOUT, async || {
            self.check_epochs().await
        })
        .await
    }

    /// Checks that all masters know the newest configuration epoch. A slot that moves to one that
    /// does not know it may belong to no node afterwards, as each names the other.
    async fn check_epochs(&self) -> anyhow::Result<()> {
        let served = self.served_slots().await?;
        let mut epochs = BTreeSet::new();
        for node in served.into_iter().map(|(_, node)| node).collect::<BTreeSet<_>>() {
            let mut query = redis::cmd("CLUSTER");
            query.arg("INFO");
            let info: redis::InfoDict =
                query.query_async(&mut connect(self.nodes[node].port).await?).await?;
            epochs.insert(info.get::<u64>("cluster_current_epoch"));
        }
        ensure!(epochs.len() == 1, "epochs {epochs:?}");
        Ok(())
    }

    /// Takes a slot away from all masters. The others stay in service.
    ///
    /// # Errors
    /// When a node returns an error.
    pub async fn unassign(&self, slot: u16) -> anyhow::Result<()> {
        for node in &self.nodes {
            let mut settings = redis::cmd("CONFIG");
            settings.arg("SET").arg("cluster-require-full-coverage").arg("no");
            settings.exec_async(&mut connect(node.port).await?).await?;
        }
        for node in &self.nodes {
            command(node.port, &["DELSLOTS", &slot.to_string()]).await?;
        }
        Ok(())
    }

    /// Assigns a slot that no master owns.
    ///
    /// # Errors
    /// When the node returns an error.
    pub async fn assign(&self, slot: u16, to: usize) -> anyhow::Result<()> {
        command(self.nodes[to].port, &["ADDSLOTS", &slot.to_string()]).await
    }
}
