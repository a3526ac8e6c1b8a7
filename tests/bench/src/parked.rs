//! CPU time per record behind a parked one, which must not grow with the number of records.

use anyhow::{Context as _, ensure};
use harness::{http, kafka::PARTITIONS, producer::Record, stack::Stack};
use load::{
    events::{Kind, Writer},
    plan::{ClientPlan, Users},
};
use serde_json::{Value, json};

use crate::{
    env::{self, Env},
    figure::{Figure, Goal, median},
    worker,
};

/// Longest wait for the owner, longer than a run takes.
const OWNER_WAIT: &str = "10m";

pub(crate) async fn measure(env: &Env) -> anyhow::Result<Vec<Figure>> {
    let [few, more, most] = env.pick([1_500, 3_000, 6_000], [30_000, 100_000, 300_000]);
    let users = env.pick(100, 2_000);
    let (mut flat, mut between, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..env.pick(1, 3) {
        flat.push(microseconds_per_record(env, users, few).await?);
        between.push(microseconds_per_record(env, users, more).await?);
        values.push(microseconds_per_record(env, users, most).await?);
    }
    let limit = median(&flat).unwrap_or_default();
    let between = median(&between).unwrap_or_default();
    Ok(vec![
        Figure::new("parked_us_per_record", "us", values, Goal::RatioAtMost(1.2))
            .with_limit(limit)
            .with_note(format!(
                "CPU time of the worker per record, {most} records behind a parked one in each \
                 partition; {more} records: {between:.1} us; limit: {few} records"
            )),
    ])
}

async fn microseconds_per_record(env: &Env, users: usize, records: u64) -> anyhow::Result<f64> {
    let settings = vec![("OWNER_WAIT", OWNER_WAIT.to_owned())];
    env.on_worker(settings, async |stack| {
        park_in_each_partition(stack).await?;
        let plan = ClientPlan { users: Users::Numbered(users), ..env::plan(stack, 1) };
        let cost = worker::drain(stack, &plan, records).await?.cpu_us;
        let parked = parked(stack).await?;
        ensure!(
            parked >= f64::from(PARTITIONS),
            "expected {PARTITIONS} parked records, got {parked}"
        );
        Ok(cost)
    })
    .await
}

/// Sends an event whose recipient is unknown to each partition.
async fn park_in_each_partition(stack: &Stack) -> anyhow::Result<()> {
    let mut text = String::new();
    for partition in 0..PARTITIONS {
        Writer::new(Kind::File).write(&mut text, 0, "", "Uppsats.docx");
        let mut event: Value = serde_json::from_str(&text)?;
        event["data"]["batch_id"] = json!(format!("a batch of no owner {partition}"));
        let value = serde_json::to_vec(&event)?;
        let (topic, partition) = (Kind::File.topic(), Some(partition));
        let record = Record { topic, value: Some(&value), partition, ..Record::default() };
        stack.producer.send_record(record).await?;
    }
    Ok(())
}

async fn parked(stack: &Stack) -> anyhow::Result<f64> {
    let page = stack.workers[0].metrics().await?;
    let series = r#"ingest_worker_parked_records{reason="owner_unknown"}"#;
    http::metric(&page, series).context("no gauge of parked records")
}
