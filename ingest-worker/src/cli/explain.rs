//! The commands that say what became of records.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, ensure};
use shared::{config::positive_duration, redis::RedisClient, time::Timestamp, user::UserId};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    blocking::run_blocking,
    report::{Report, State},
};
use crate::{
    config::Config,
    infrastructure::{
        kafka::{
            dead_letters::origin::{self, DeadLetterOf},
            search::{FoundRecord, Search},
        },
        redis::lookup::Lookup,
    },
    worker::pipeline,
};

/// Which event to explain.
#[derive(Clone, Debug, clap::Args)]
pub struct Explain {
    /// The `event_id` of the event
    #[arg(long)]
    event: Uuid,
    /// The user who should have received it
    #[arg(long)]
    user: Option<String>,
    /// How old the event may be: records of this time are read
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = positive_duration)]
    since: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How to print unfinished records.
#[derive(Clone, Debug, clap::Args)]
pub struct Parked {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let Self { event, user, since, json } = self;
        let user = user.map(|user| UserId::new(&user)).transpose()?;
        let since = Timestamp::now().checked_sub(since)?;
        let lookup = lookup(&config).await?;
        let read = move |search: Search| search.event(event, since);
        let (records, dead_letters) = read_records(config, read).await?;
        let mut reports = Vec::new();
        for record in records {
            reports.push(Report::of(record, Some(event), &dead_letters, &lookup).await?);
        }
        if json {
            println!("{}", serde_json::to_string_pretty(&reports)?);
        } else {
            reports.iter().for_each(print);
        }
        ensure!(
            !reports.is_empty(),
            "no record since {since:.0} has the event_id {event}, of the topics that are consumed \
             (see NOTIFICATION_SOURCE)"
        );
        if let Some(user) = user {
            let is_for = |report: &Report| report.user.as_deref() == Some(user.as_str());
            ensure!(reports.iter().any(is_for), "the event is not for {user}");
        }
        Ok(())
    }
}

impl Parked {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        let lookup = lookup(&config).await?;
        let (records, dead_letters) = read_records(config, Search::unfinished).await?;
        let mut reports = Vec::new();
        for record in records {
            let report = Report::of(record, None, &dead_letters, &lookup).await?;
            if matches!(report.state, State::WaitsForOwner | State::Unfinished) {
                reports.push(report);
            }
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&reports)?);
        } else {
            for Report { topic, partition, offset, outcome, .. } in &reports {
                println!("{topic}[{partition}]@{offset}\t{outcome}");
            }
            println!("{} unfinished records", reports.len());
        }
        Ok(())
    }
}

/// Reads records, and then their dead letters.
async fn read_records(
    config: Config,
    read: impl FnOnce(Search) -> anyhow::Result<Vec<FoundRecord>> + Send + 'static,
) -> anyhow::Result<(Vec<FoundRecord>, Vec<DeadLetterOf>)> {
    let search = move |interrupt: &CancellationToken| {
        let routes = pipeline::routes(&config);
        let topics: BTreeSet<String> = routes.topics().map(str::to_owned).collect();
        let classifier = pipeline::classifier(&config, routes);
        let search = Search::connect(&config, &topics, classifier, interrupt.clone())?;
        let records = read(search)?;
        let origins = records.iter().map(|found| found.origin.clone()).collect();
        let dead_letters = origin::find(&config, &origins, interrupt.clone())?;
        Ok((records, dead_letters))
    };
    run_blocking(search).await
}

async fn lookup(config: &Config) -> anyhow::Result<Lookup> {
    let redis = RedisClient::new(&config.settings.redis).context("REDIS_URL")?;
    Lookup::connect(&redis).await
}

fn print(report: &Report) {
    let Report { topic, partition, offset, event_type, outcome, .. } = report;
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".into());
    println!("{topic}[{partition}]@{offset}");
    if let Some(written_at) = report.written_at {
        println!("  written at  {written_at:.0}");
    }
    println!("  event type  {event_type}");
    println!("  recipient   {}", or_unknown(&report.user));
    println!("  identity    {}", or_unknown(&report.identity));
    let claim = report.claim_expires_in_s;
    let claim = claim.map_or_else(|| "none".into(), |seconds| format!("expires in {seconds} s"));
    println!("  claim       {claim}");
    println!("  outcome     {outcome}");
}
