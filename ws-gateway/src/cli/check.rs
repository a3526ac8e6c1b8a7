//! The command that checks whether a gateway with these settings can work.

use anyhow::Context as _;
use shared::{findings::Findings, redis::RedisClient};

use crate::{config::Config, gateway, redis};

/// How to print the findings.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let mut findings = Findings::default();
        findings.ok("settings", "valid");
        let client = RedisClient::new(&config.redis).context("REDIS_URL")?;
        let (keys, redis) =
            tokio::join!(gateway::check::check(config), redis::check::check(&client));
        findings.extend(keys);
        findings.extend(redis);
        findings.print(self.json)
    }
}
