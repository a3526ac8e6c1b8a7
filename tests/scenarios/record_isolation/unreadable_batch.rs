//! A batch of records that the broker's disk has damaged.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    producer::{Producer, header, read_topic},
    stack::{Layout, Stack, TIMEOUT},
};
use rdkafka::{Message as _, message::OwnedMessage};
use serde_json::Value;

use super::{EVENTS_OF_ONE_TOPIC, case, expect_delivery_at_once};
use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![an_unreadable_batch_delays_no_other_partition_and_can_be_skipped];

/// Two measurements of the lag, and an attempt of a new client.
const DETECTED_WITHIN: Duration = Duration::from_mins(1);

/// A damaged batch blocks its partition only, until it is skipped. The record before it is parked.
async fn an_unreadable_batch_delays_no_other_partition_and_can_be_skipped(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("OWNER_WAIT", "5m".to_owned())];
    let layout = Layout { worker_settings, ..Layout::default() };
    let mut stack = context.own_broker(&layout).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    stack.workers[0].stop().await?;
    let ([lost, behind], partition, offset) = write_blocked(&stack, &user).await?;
    stack.workers[0].restart().await?;
    let labels = format!("partition=\"{partition}\",topic=\"{}\"", lost.topic);
    let reported = format!("ingest_worker_unreadable_offset{{{labels}}} {offset}");
    eventually("the partition is reported", DETECTED_WITHIN, async || {
        let page = stack.workers[0].metrics().await?;
        ensure!(page.lines().any(|line| line == reported), "expected {reported}");
        Ok(())
    })
    .await?;
    expect_other_partitions_to_go_on(&stack, &lost.topic, partition).await?;
    let to = expect_one_report(&stack, &lost.topic, offset)?;
    ensure!(to == offset + 1, "expected {} as the next readable offset, got {to}", offset + 1);

    expect_commands_to_leave_it_out(&stack, &behind).await?;
    let [partition, from, to] =
        [partition.into(), offset - 1, to].map(|number: i64| number.to_string());
    let place = ["--topic", &lost.topic, "--partition", &partition, "--to", &to];
    let skip = [&["offsets", "skip"][..], &place].concat();
    let skip_all = [&skip[..], &["--readable"]].concat();
    for (command, reason) in [(&skip, "can be read"), (&skip_all, "has active members")] {
        let refused = stack.workers[0].run_command(command, "").await;
        let refused = refused.err().context("the records were skipped")?.to_string();
        ensure!(refused.contains(reason), "expected {reason:?}, got {refused}");
    }
    stack.workers[0].stop().await?;
    let output = stack.workers[0].run_command(&skip_all, "").await?.stdout;
    ensure!(output.contains("2 offsets skipped"), "expected two skipped offsets, got {output}");
    stack.workers[0].restart().await?;
    expect_notifications(&mut clients[0], &[behind]).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    let one = |letters: &[OwnedMessage]| !letters.is_empty();
    let letters = read_topic(&stack.kafka, &stack.dead_letter_topic, TIMEOUT, one).await?;
    let names = ["reason", "topic", "partition", "offset", "skipped_to"];
    let values = ["skipped", &*lost.topic, &*partition, &*from, &*to];
    for (name, expected) in names.into_iter().zip(values) {
        let value = header(&letters[0], &format!("dlq.{name}"));
        ensure!(value == Some(expected), "{name}: expected {expected}, got {value:?}");
    }
    stack.shut_down_and_check_logs().await
}

/// Writes three events to one partition: one that is parked, one whose batch is damaged on the
/// broker's disk, and one behind it. Returns the last two, partition and offset of the damaged one.
async fn write_blocked(stack: &Stack, user: &str) -> anyhow::Result<([Event; 2], i32, i64)> {
    let fresh = || case()?.fresh(user);
    let [mut parked, lost, mut behind] = [fresh()?, fresh()?, fresh()?];
    parked.envelope["data"]["user_id"] = Value::Null;
    for event in [&mut parked, &mut behind] {
        event.key.clone_from(&lost.key);
    }
    stack.producer.send(&parked).await?;
    Producer::with(&stack.kafka, &[("compression.type", "gzip")])?.send(&lost).await?;
    let is_lost = |record: &OwnedMessage| {
        String::from_utf8_lossy(record.payload().unwrap_or_default()).contains(&lost.id)
    };
    let written = |records: &[OwnedMessage]| records.iter().any(is_lost);
    let records = read_topic(&stack.kafka, &lost.topic, TIMEOUT, written).await?;
    let record = records.into_iter().find(is_lost).context("the event was read")?;
    let (partition, offset) = (record.partition(), record.offset());
    stack.kafka.damage_batch(&lost.topic, partition, offset).await?;
    stack.producer.send(&behind).await?;
    Ok(([lost, behind], partition, offset))
}

/// Checks that events of other topics, and of other partitions of `topic`, are delivered at once.
async fn expect_other_partitions_to_go_on(
    stack: &Stack,
    topic: &str,
    blocked: i32,
) -> anyhow::Result<()> {
    let user = fresh_user();
    let other_topics = events::one_of_each(&user)?.into_iter();
    let mut events: Vec<_> =
        other_topics.filter(|event| event.topic != topic).map(|event| (event, None)).collect();
    for partition in (0..3).filter(|partition| *partition != blocked) {
        for _ in 0..EVENTS_OF_ONE_TOPIC / 2 {
            events.push((case()?.fresh(&user)?, Some(partition)));
        }
    }
    expect_delivery_at_once(stack, "an unreadable batch", &user, events).await
}

/// Checks that the worker has logged the unreadable batch once, at error level, with position and
/// cause; returns the next offset that can be read.
fn expect_one_report(stack: &Stack, topic: &str, offset: i64) -> anyhow::Result<i64> {
    let log = stack.workers[0].log()?;
    let lines = log.lines().filter(|line| line.contains("cannot be read"));
    let lines: Vec<Value> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    let [line] = &lines[..] else { bail!("expected one line, got {lines:?}") };
    let is_complete = line["level"] == "ERROR"
        && line["kafka.topic"] == topic
        && line["kafka.offset"] == offset
        && line["cause"].as_str().is_some_and(|cause| cause.contains("CRC32C"));
    ensure!(is_complete, "expected level, position and cause, got {line}");
    let errors = log.matches("Kafka client error").count();
    ensure!(errors < 5, "expected the client's error not to be repeated, got {errors} lines");
    line["next_readable_offset"].as_i64().context("no next readable offset")
}

/// Checks that a record behind the batch is found, and that the command names what it left out.
async fn expect_commands_to_leave_it_out(stack: &Stack, behind: &Event) -> anyhow::Result<()> {
    let explain = ["explain", "--event", &behind.id];
    let output = stack.workers[0].run_command(&explain, "").await?;
    ensure!(output.stdout.contains("not published to"), "expected the record, got {output:?}");
    let parked = stack.workers[0].run_command(&["parked"], "").await?;
    ensure!(parked.stdout.contains("2 unfinished records"), "expected both, got {parked:?}");
    for output in [output, parked] {
        let named = format!("{}[", behind.topic);
        let is_named = output.stderr.contains(&named) && output.stderr.contains("are left out");
        ensure!(is_named, "expected the damaged batch to be named, got {output:?}");
    }
    Ok(())
}
