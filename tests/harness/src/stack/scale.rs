//! More and fewer of the services, while the stack runs.

use anyhow::Context as _;

use super::Stack;
use crate::{redis::RedisTopology, service::Service};

impl<R: RedisTopology> Stack<R> {
    /// Starts one more worker in the same group, with the settings of the first.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn start_another_worker(&mut self) -> anyhow::Result<()> {
        let (group, more) = (self.group.clone(), self.worker_settings.clone());
        self.add_worker(&group, &more).await?;
        self.workers.last().context("it has just been added")?.wait_until_ready().await
    }

    /// Starts one more gateway, with the settings of the first.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn start_another_gateway(&mut self) -> anyhow::Result<()> {
        let more = self.gateway_settings.clone();
        self.add_gateway(&more).await?;
        self.gateways.last().context("it has just been added")?.wait_until_ready().await
    }

    /// Stops the worker that was added last, in order.
    ///
    /// # Errors
    /// When it does not stop as it should, or there is none.
    pub async fn stop_last_worker(&mut self) -> anyhow::Result<()> {
        let worker = self.workers.pop().context("there is a worker")?;
        self.retire(&worker).await
    }

    /// Stops the gateway that was added first, which has most of the clients, in order.
    ///
    /// # Errors
    /// When it does not stop as it should, or there is none.
    pub async fn stop_first_gateway(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.gateways.is_empty(), "there is no gateway");
        let gateway = self.gateways.remove(0);
        self.retire(&gateway).await
    }

    async fn retire(&self, service: &Service) -> anyhow::Result<()> {
        service.stop().await?;
        self.search_logs_of(service)
    }
}
