//! An event that is sent again is published once for each user.

use harness::{
    client::Client,
    events::{self, Event, fresh_user},
    producer::Record,
    stack::{Layout, Stack},
};
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    events_sent_again_to_other_partitions_are_published_once,
    an_event_for_two_users_is_published_to_both,
    an_event_id_in_a_header_takes_precedence_over_the_body,
    identity_by_content_covers_a_resend_under_a_new_event_id,
];

async fn events_sent_again_to_other_partitions_are_published_once(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    let mut copies = [events.clone(), events.clone(), events.clone()].concat();
    for copy in &mut copies {
        copy.key = Uuid::new_v4().to_string();
    }
    stack.producer.send_all(&copies).await?;
    expect_notifications(&mut clients[0], &events).await?;
    expect_nothing_before(stack, &mut clients, &user, &copies).await
}

/// Checks that none of these events, nor anything else, is still to be delivered: for each, an
/// event that follows it in its partition arrives, and then no further frame.
async fn expect_nothing_before(
    stack: &Stack,
    clients: &mut [Client; 1],
    user: &str,
    events: &[Event],
) -> anyhow::Result<()> {
    let case = &events::designed()?[0];
    let following = events.iter().map(|event| {
        let mut following = case.fresh(user)?;
        (following.topic, following.key) = (event.topic.clone(), event.key.clone());
        anyhow::Ok(following)
    });
    let following = following.collect::<anyhow::Result<Vec<_>>>()?;
    stack.producer.send_all(&following).await?;
    expect_notifications(&mut clients[0], &following).await?;
    expect_no_further_frames(stack, user, clients).await
}

async fn an_event_for_two_users_is_published_to_both(context: &Context) -> anyhow::Result<()> {
    let (stack, users) = (context.stack().await?, [fresh_user(), fresh_user()]);
    let case = &events::designed()?[0];
    let (mut first, second) = (case.fresh(&users[0])?, case.fresh(&users[1])?);
    first.id.clone_from(&second.id);
    first.envelope["event_id"] = second.id.clone().into();
    first.notification["event_id"] = second.id.clone().into();
    let mut clients = [stack.client(&users[0]).await?, stack.client(&users[1]).await?];
    stack.producer.send_all(&[first.clone(), second.clone()]).await?;
    expect_notifications(&mut clients[0], &[first]).await?;
    expect_notifications(&mut clients[1], &[second]).await
}

async fn an_event_id_in_a_header_takes_precedence_over_the_body(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let mut event = events::designed()?[0].fresh(&user)?;
    event.id = Uuid::new_v4().to_string();
    event.notification["event_id"] = event.id.clone().into();
    for _ in 0..2 {
        event.envelope["event_id"] = Uuid::new_v4().to_string().into();
        let value = serde_json::to_vec(&event.envelope)?;
        let headers = [("event_id", &*event.id)];
        let (topic, key, value) = (&*event.topic, Some(&*event.key), Some(&*value));
        let record = Record { topic, key, value, headers: &headers, ..Record::default() };
        stack.producer.send_record(record).await?;
    }
    expect_notifications(&mut clients[0], std::slice::from_ref(&event)).await?;
    expect_nothing_before(stack, &mut clients, &user, &[event]).await
}

async fn identity_by_content_covers_a_resend_under_a_new_event_id(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("IDEMPOTENCY_IDENTITY", "content".to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let event = events::designed()?[0].fresh(&user)?;
    let mut resent = event.clone();
    resent.envelope["event_id"] = Uuid::new_v4().to_string().into();
    stack.producer.send(&event).await?;
    stack.producer.send(&resent).await?;
    expect_notifications(&mut clients[0], std::slice::from_ref(&event)).await?;
    expect_nothing_before(&stack, &mut clients, &user, &[event]).await?;
    stack.shut_down_and_check_logs().await
}
