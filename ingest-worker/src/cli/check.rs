//! The command that checks whether a worker with these settings can work.

use anyhow::Context as _;
use shared::{findings::Findings, redis::RedisClient};

use crate::{
    config::Config,
    infrastructure::{kafka, redis},
    worker::pipeline,
};

/// How to print the findings.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let mut findings = Findings::default();
        findings.ok("settings", "valid");
        let topics = pipeline::routes(&config).topics().map(str::to_owned).collect();
        let client = RedisClient::new(&config.settings.redis).context("REDIS_URL")?;
        let ack = config.replica_ack();
        let (kafka, redis) =
            tokio::join!(kafka::check::check(config, topics), redis::check::check(&client, ack));
        findings.extend(kafka);
        findings.extend(redis);
        findings.print(self.json)
    }
}
