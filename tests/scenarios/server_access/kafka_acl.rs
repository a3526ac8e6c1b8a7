//! Kafka with the permissions of a worker that `ingest-worker/README.md` lists: they suffice, and
//! the command `check` names each that is missing.

use std::sync::Arc;

use anyhow::Context as _;
use harness::{
    events::{self, fresh_user},
    eventually,
    kafka_acls::{
        self,
        Operation::{Describe, DescribeConfigs, Read, Write},
        Permission,
        Resource::{Group, Topic},
    },
    stack::{Layout, Stack},
};
use serde_json::json;

use crate::{
    assertions::{expect_delivery, wait_for_dead_letters},
    context::Context,
    operator_commands::check::{check, expect_finding},
    runner::scenarios,
    under_load::RECOVERY_TIMEOUT,
};

scenarios![the_documented_permissions_suffice_a_worker_and_a_check_names_each_that_is_missing,];

/// The user that workers log in as.
const WORKER: &str = "ingest-worker";
/// A user with permissions on all topics and groups: those without any are open to every user.
const OTHER: &str = "another-service";

/// The permissions of a worker in the README, for brokers from version 2.8 on.
fn documented<'a>(topics: &'a [String], stack: &'a Stack) -> Vec<Permission<'a>> {
    let of_topics =
        topics.iter().flat_map(|topic| [Read, DescribeConfigs].map(|o| (Topic(topic), o)));
    let others = [
        (Group(&stack.group), Read),
        (Topic(&stack.dead_letter_topic), Write),
        (Topic(&stack.dead_letter_topic), DescribeConfigs),
    ];
    of_topics.chain(others).collect()
}

async fn the_documented_permissions_suffice_a_worker_and_a_check_names_each_that_is_missing(
    context: &Context,
) -> anyhow::Result<()> {
    let kafka = context.own_kafka().await?;
    let worker_settings = kafka.secured()?.worker_settings();
    let layout = Layout { workers: 0, worker_settings, ..Layout::default() };
    let mut stack = context.stack_on(Arc::clone(&kafka), &layout).await?;
    let topics = events::topics()?;
    kafka_acls::permit(&kafka, OTHER, &[(Topic("*"), Read), (Group("*"), Read)]).await?;
    kafka_acls::permit(&kafka, WORKER, &documented(&topics, &stack)).await?;

    stack.start_another_worker().await?;
    expect_delivery(&stack).await?;
    let mut event = events::designed()?[0].fresh(&fresh_user())?;
    event.envelope["data"] = json!({"no subject": true});
    stack.producer.send(&event).await?;
    wait_for_dead_letters(&stack, &[&event.key]).await?;
    let findings = check(&stack.workers[0], &[]).await?;
    expect_finding(&findings, "ok", &format!("the group {} may be used", stack.group))?;
    // It would be denied what is denied to the check.
    stack.workers[0].stop().await?;
    expect_each_missing_to_be_found(&stack, &topics[0]).await?;
    stack.check_logs_and_discard()
}

/// Takes one permission after the other away, or all of it but `Describe`, which it includes.
async fn expect_each_missing_to_be_found(stack: &Stack, topic: &str) -> anyhow::Result<()> {
    let (kafka, worker) = (&stack.kafka, &stack.workers[0]);
    let (group, dead_letters) = (Group(&stack.group), Topic(&stack.dead_letter_topic));
    for (missing, left, result, text) in [
        ((Topic(topic), Read), None, "note", topic),
        ((Topic(topic), Read), Some(Describe), "FAILED", "permit Read on the topic"),
        ((group, Read), None, "FAILED", "permit Read on the group"),
        ((group, Read), Some(Describe), "FAILED", "permit Read on the group"),
        ((dead_letters, Write), None, "FAILED", "does not exist, or may not be described"),
        ((dead_letters, Write), Some(Describe), "FAILED", "permit Write on the topic"),
        ((dead_letters, DescribeConfigs), None, "note", "not checked whether"),
    ] {
        let left: Vec<Permission<'_>> = left.map(|left| (missing.0, left)).into_iter().collect();
        kafka_acls::permit(kafka, WORKER, &left).await?;
        kafka_acls::forbid(kafka, WORKER, &[missing]).await?;
        eventually("the check finds it", RECOVERY_TIMEOUT, async || {
            expect_finding(&check(worker, &[]).await?, result, text)
        })
        .await
        .with_context(|| format!("without {missing:?}, with {left:?}"))?;
        kafka_acls::permit(kafka, WORKER, &[missing]).await?;
        kafka_acls::forbid(kafka, WORKER, &left).await?;
    }
    Ok(())
}
