//! Scales the services of a running stack.

use anyhow::Context as _;

use super::Stack;
use crate::{redis::RedisTopology, service::Service};

impl<R: RedisTopology> Stack<R> {
    /// Adds a worker to the group, with the settings of the first.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn start_another_worker(&mut self) -> anyhow::Result<()> {
        let (group, more) = (self.group.clone(), self.worker_settings.clone());
        self.add_worker(&group, &more).await?;
        self.workers.last().context("the service was added")?.wait_until_ready().await
    }

    /// Adds a gateway, with the settings of the first.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn start_another_gateway(&mut self) -> anyhow::Result<()> {
        let more = self.gateway_settings.clone();
        self.add_gateway(&more).await?;
        self.gateways.last().context("the service was added")?.wait_until_ready().await
    }

    /// Stops the worker that was added last, gracefully.
    ///
    /// # Errors
    /// When its exit code is not 0, its log has a secret, or there is none.
    pub async fn stop_last_worker(&mut self) -> anyhow::Result<()> {
        let worker = self.workers.pop().context("there is no worker")?;
        self.stop_and_check_logs(&worker).await
    }

    /// Stops the gateway that was added first, which has most of the clients, gracefully.
    ///
    /// # Errors
    /// When its exit code is not 0, its log has a secret, or there is none.
    pub async fn stop_first_gateway(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.gateways.is_empty(), "there is no gateway");
        let gateway = self.gateways.remove(0);
        self.stop_and_check_logs(&gateway).await
    }

    async fn stop_and_check_logs(&self, service: &Service) -> anyhow::Result<()> {
        service.stop().await?;
        self.check_logs_of(service)
    }
}
