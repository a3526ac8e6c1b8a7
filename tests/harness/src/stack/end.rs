//! Shuts a stack down and searches its logs and metrics for secrets and payloads.

use futures_util::future::try_join_all;

use super::Stack;
use crate::{leaks::LeakSearch, redis::RedisTopology, service::Service};

impl<R: RedisTopology> Stack<R> {
    /// Ends a stack whose services the scenario has stopped or killed, and checks their logs.
    ///
    /// # Errors
    /// When a log has a secret or a payload.
    pub fn check_logs_and_discard(mut self) -> anyhow::Result<()> {
        self.check_logs()?;
        self.workers.clear();
        self.gateways.clear();
        drop(self.folder.take());
        Ok(())
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.workers.iter().chain(&self.gateways)
    }

    /// Stops the services gracefully, checks their exit codes, logs and metrics, kills Redis and
    /// removes the directory.
    ///
    /// # Errors
    /// When an exit code is not 0, or a log or metrics page has a secret or a payload.
    pub async fn shut_down_and_check_logs(mut self) -> anyhow::Result<()> {
        self.check_metrics().await?;
        try_join_all(self.services().map(Service::stop)).await?;
        self.check_logs()?;
        self.redis.kill_all();
        drop(self.folder.take());
        Ok(())
    }

    fn leak_search(&self) -> anyhow::Result<LeakSearch> {
        LeakSearch::new(self.services().flat_map(Service::secrets).chain([self.secret.clone()]))
    }

    fn check_logs(&self) -> anyhow::Result<()> {
        self.services().try_for_each(|service| self.check_logs_of(service))
    }

    pub(super) fn check_logs_of(&self, service: &Service) -> anyhow::Result<()> {
        let search = self.leak_search()?;
        service.logs()?.iter().try_for_each(|log| search.check_log(service.name(), log))
    }

    async fn check_metrics(&self) -> anyhow::Result<()> {
        let search = self.leak_search()?;
        for service in self.services() {
            search.check_metrics(service.name(), &service.metrics().await?)?;
        }
        Ok(())
    }
}
