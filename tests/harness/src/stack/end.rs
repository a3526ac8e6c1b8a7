//! How a stack ends: in order, and after a look through everything that its services have written.

use futures_util::future::try_join_all;

use super::Stack;
use crate::{leaks::Leaks, redis::RedisTopology, service::Service};

impl<R: RedisTopology> Stack<R> {
    /// Ends a stack whose services the scenario has stopped or killed itself.
    ///
    /// # Errors
    /// When something is in their logs that nobody may see.
    pub fn check_logs_and_discard(mut self) -> anyhow::Result<()> {
        self.search_logs()?;
        self.workers.clear();
        self.gateways.clear();
        drop(self.folder.take());
        Ok(())
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.workers.iter().chain(&self.gateways)
    }

    /// Stops the services in order, checks that each ends with exit code 0 and has written nothing
    /// that nobody may see, ends Redis and removes the directory.
    ///
    /// # Errors
    /// When a service does not stop as it should, or its logs or metrics say too much.
    pub async fn shut_down_and_check_logs(mut self) -> anyhow::Result<()> {
        self.search_metrics().await?;
        try_join_all(self.services().map(Service::stop)).await?;
        self.search_logs()?;
        self.redis.kill_all();
        drop(self.folder.take());
        Ok(())
    }

    fn leaks(&self) -> anyhow::Result<Leaks> {
        Leaks::of(self.services().flat_map(Service::secrets).chain([self.secret.clone()]))
    }

    fn search_logs(&self) -> anyhow::Result<()> {
        self.services().try_for_each(|service| self.search_logs_of(service))
    }

    pub(super) fn search_logs_of(&self, service: &Service) -> anyhow::Result<()> {
        let leaks = self.leaks()?;
        service.logs()?.iter().try_for_each(|log| leaks.search_log(service.name(), log))
    }

    async fn search_metrics(&self) -> anyhow::Result<()> {
        let leaks = self.leaks()?;
        for service in self.services() {
            leaks.search_metrics(service.name(), &service.metrics().await?)?;
        }
        Ok(())
    }
}
