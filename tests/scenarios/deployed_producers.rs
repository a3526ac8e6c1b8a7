//! What the deployed services send today: other names, other topics, owners that must be learned.

use anyhow::Context as _;
use harness::{
    events::{self, Event, fresh_user},
    stack::Layout,
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    deployed_events_arrive_once_at_the_right_user_in_whatever_order,
    requests_for_notifications_are_forwarded_under_their_own_type,
    a_fact_that_is_told_twice_is_heard_from_one_source,
];

/// Every deployed case of the 17 events for one user, and what teaches who owns what.
fn for_user(user: &str) -> anyhow::Result<(Vec<Event>, Vec<Event>)> {
    let request = "huleedu.notification.teacher.requested.v1";
    let cases = events::deployed()?.into_iter().filter(|case| case.topic != request);
    let events = cases.map(|case| case.fresh(user)).collect::<anyhow::Result<Vec<_>>>()?;
    let registrations = events.iter().map(Event::registration).collect();
    Ok((events, registrations))
}

async fn deployed_events_arrive_once_at_the_right_user_in_whatever_order(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.stack().await?;
    let seed: u64 = rand::random();
    let mut order = StdRng::seed_from_u64(seed);
    let (mut all, mut last, mut users) = (Vec::new(), Vec::new(), Vec::new());
    for user in [(); 4].map(|()| fresh_user()) {
        let (events, registrations) = for_user(&user)?;
        users.push((user, events.clone()));
        all.extend(events);
        last.extend(registrations);
    }
    all.shuffle(&mut order);
    last.shuffle(&mut order);
    for event in &mut all {
        // Any partition, so that nothing but the owner decides when an event can be told.
        event.key = Uuid::new_v4().to_string();
    }
    let mut clients = Vec::new();
    for (user, _) in &users {
        clients.push([stack.client(user).await?]);
    }
    stack.producer.send_all(&all).await?;
    stack.producer.send_all(&last).await?;
    for ((user, mut events), client) in users.into_iter().zip(&mut clients) {
        events.retain(|event| !event.notification.is_null());
        let arrived = expect_notifications(&mut client[0], &events).await;
        arrived.with_context(|| format!("{user}, seed {seed}"))?;
        expect_no_further_frames(stack, &user, client).await?;
    }
    Ok(())
}

/// The requests of the deployed platform, for one user.
fn requests(user: &str) -> anyhow::Result<Vec<Event>> {
    let cases = events::deployed()?.into_iter();
    let requests = cases.filter(|case| case.topic.ends_with("teacher.requested.v1"));
    requests.map(|case| case.fresh(user)).collect()
}

async fn requests_for_notifications_are_forwarded_under_their_own_type(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("NOTIFICATION_SOURCE", "both".to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut events = requests(&user)?;
    anyhow::ensure!(events.len() >= 2, "only {} requests", events.len());
    events.extend(events::one_of_each(&user)?);
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    stack.shut_down_and_check_logs().await
}

async fn a_fact_that_is_told_twice_is_heard_from_one_source(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("NOTIFICATION_SOURCE", "teacher".to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let events = events::one_of_each(&user)?;
    let requests = requests(&user)?;
    stack.producer.send_all(&events).await?;
    stack.producer.send_all(&requests).await?;
    let also_requested = [
        "batch_file_added",
        "batch_file_removed",
        "cj_assessment_completed",
        "batch_phase_outcome",
        "essay_validation_failed",
        "class_created",
        "student_created",
    ];
    let unique = events.into_iter().filter(|event| {
        event.notification["event"].as_str().is_some_and(|name| !also_requested.contains(&name))
    });
    let expected: Vec<Event> = unique.chain(requests).collect();
    expect_notifications(&mut clients[0], &expected).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}
