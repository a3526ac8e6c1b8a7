//! What producers send: the events of the deployed services, which name owners that must be looked
//! up, requests for notifications, compressed batches, and transactions.

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    producer::Producer,
    stack::Layout,
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    run_profile::seed,
    runner::scenarios,
};

scenarios![
    events_of_the_deployed_services_reach_their_owners_once_in_any_order,
    notification_requests_are_published_as_their_own_type,
    a_fact_that_two_services_state_is_published_from_one_source,
    events_compressed_with_each_codec_are_delivered,
    events_of_aborted_transactions_are_not_delivered,
];

const REQUEST_TOPIC: &str = "huleedu.notification.teacher.requested.v1";

async fn events_of_the_deployed_services_reach_their_owners_once_in_any_order(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let mut order = StdRng::seed_from_u64(seed("deployed services"));
    let cases: Vec<_> =
        events::deployed()?.into_iter().filter(|case| case.topic != REQUEST_TOPIC).collect();
    let (mut sent, mut registrations, mut receivers) = (Vec::new(), Vec::new(), Vec::new());
    for user in [(); 4].map(|()| fresh_user()) {
        let events = cases.iter().map(|case| case.fresh(&user));
        let mut events = events.collect::<anyhow::Result<Vec<_>>>()?;
        registrations.extend(events.iter().map(Event::registration));
        sent.extend(events.iter().cloned());
        events.retain(|event| !event.notification.is_null());
        receivers.push(([stack.client(&user).await?], user, events));
    }
    for event in &mut sent {
        // A random partition, so that only the owner decides when the event can be published.
        event.key = Uuid::new_v4().to_string();
    }
    sent.shuffle(&mut order);
    registrations.shuffle(&mut order);
    stack.producer.send_all(&sent).await?;
    stack.producer.send_all(&registrations).await?;
    for (clients, user, events) in &mut receivers {
        expect_notifications(&mut clients[0], events).await.with_context(|| user.clone())?;
        expect_no_further_frames(stack, user, clients).await?;
    }
    Ok(())
}

/// The notification requests of the deployed services, for one user.
fn requests(user: &str) -> anyhow::Result<Vec<Event>> {
    let requests = events::deployed()?.into_iter().filter(|case| case.topic == REQUEST_TOPIC);
    requests.map(|case| case.fresh(user)).collect()
}

async fn notification_requests_are_published_as_their_own_type(
    context: &Context,
) -> anyhow::Result<()> {
    let user = fresh_user();
    let (events, requests) = (events::one_of_each(&user)?, requests(&user)?);
    ensure!(requests.len() >= 2, "expected at least two requests, got {}", requests.len());
    let all = [events, requests].concat();
    expect_from_source(context, "both", &user, &all, &all).await
}

async fn a_fact_that_two_services_state_is_published_from_one_source(
    context: &Context,
) -> anyhow::Result<()> {
    let also_requested = [
        "batch_file_added",
        "batch_file_removed",
        "cj_assessment_completed",
        "batch_phase_outcome",
        "essay_validation_failed",
        "class_created",
        "student_created",
    ];
    let user = fresh_user();
    let (events, requests) = (events::one_of_each(&user)?, requests(&user)?);
    let sent = [events.clone(), requests.clone()].concat();
    let is_unique = |event: &Event| {
        event.notification["event"].as_str().is_some_and(|name| !also_requested.contains(&name))
    };
    let expected: Vec<Event> = events.into_iter().filter(is_unique).chain(requests).collect();
    expect_from_source(context, "teacher", &user, &sent, &expected).await
}

/// Checks which of the sent events a stack with this `NOTIFICATION_SOURCE` publishes.
async fn expect_from_source(
    context: &Context,
    source: &str,
    user: &str,
    sent: &[Event],
    expected: &[Event],
) -> anyhow::Result<()> {
    let worker_settings = vec![("NOTIFICATION_SOURCE", source.to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let mut clients = [stack.client(user).await?];
    stack.producer.send_all(sent).await?;
    expect_notifications(&mut clients[0], expected).await?;
    expect_no_further_frames(&stack, user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}

async fn events_compressed_with_each_codec_are_delivered(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        // A batch of one record is not compressed; the linger time collects more.
        let properties = [("compression.type", codec), ("linger.ms", "50")];
        let producer = Producer::with(&stack.kafka, &properties)?;
        let events = many(&user, 100)?;
        producer.send_all(&events).await?;
        expect_notifications(&mut clients[0], &events).await.context(codec)?;
    }
    expect_no_further_frames(stack, &user, &mut clients).await
}

async fn events_of_aborted_transactions_are_not_delivered(context: &Context) -> anyhow::Result<()> {
    context.durable_kafka().await?;
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let id = Uuid::new_v4().to_string();
    let producer = Producer::with(&stack.kafka, &[("transactional.id", &id)])?;
    producer.init_transactions().await?;
    let mut expected = Vec::new();
    for commit in [false, true, false, true, false, true] {
        let events = many(&user, 5)?;
        producer.transaction(&events, commit).await?;
        if commit {
            expected.extend(events);
        }
    }
    expect_notifications(&mut clients[0], &expected).await?;
    // Behind the transactions in every partition.
    let last = many(&user, 30)?;
    stack.producer.send_all(&last).await?;
    expect_notifications(&mut clients[0], &last).await?;
    expect_no_further_frames(stack, &user, &mut clients).await
}

fn many(user: &str, events: usize) -> anyhow::Result<Vec<Event>> {
    let case = &events::designed()?[0];
    (0..events).map(|_| case.fresh(user)).collect()
}
