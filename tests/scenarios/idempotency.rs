//! What is sent again is told once.

use harness::{
    events::{self, fresh_user},
    producer::Record,
    stack::{Layout, TIMEOUT},
};
use uuid::Uuid;

use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    an_event_sent_again_with_its_event_id_arrives_once,
    an_event_without_an_id_is_known_by_its_content,
    the_same_event_for_two_users_reaches_both,
    a_header_with_the_event_id_wins_over_the_body,
    content_as_identity_catches_a_resend_under_a_new_id,
];

async fn an_event_sent_again_with_its_event_id_arrives_once(
    context: &Context,
) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    // Other keys, so that the copies reach other partitions and workers.
    let mut copies = [events.clone(), events.clone(), events.clone()].concat();
    for copy in &mut copies {
        copy.key = Uuid::new_v4().to_string();
    }
    stack.producer.send_all(&copies).await?;
    expect_notifications(&mut clients[0], &events).await?;
    // Behind every copy on its partition, so all of them have been seen once these are there.
    let mut last = Vec::new();
    for copy in &copies {
        let mut event = events::designed()?[0].fresh(&user)?;
        (event.topic, event.key) = (copy.topic.clone(), copy.key.clone());
        last.push(event);
    }
    stack.producer.send_all(&last).await?;
    expect_notifications(&mut clients[0], &last).await?;
    expect_no_further_frames(stack, &user, &mut clients).await
}

async fn an_event_without_an_id_is_known_by_its_content(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut client = stack.client(&user).await?;
    let mut anonymous = events::designed()?[0].fresh(&user)?;
    let last = events::designed()?[0].fresh(&user)?;
    anonymous.envelope.as_object_mut().map(|envelope| envelope.remove("event_id"));
    for _ in 0..3 {
        stack.producer.send(&anonymous).await?;
    }
    let mut last = last;
    last.key.clone_from(&anonymous.key);
    stack.producer.send(&last).await?;
    let first = client.next_notification(TIMEOUT).await?;
    anyhow::ensure!(first["event"] == anonymous.notification["event"], "{first}");
    expect_notifications(&mut client, &[last]).await
}

async fn the_same_event_for_two_users_reaches_both(context: &Context) -> anyhow::Result<()> {
    let (stack, users) = (context.stack().await?, [fresh_user(), fresh_user()]);
    let case = &events::designed()?[0];
    let mut first = case.fresh(&users[0])?;
    let second = case.fresh(&users[1])?;
    first.id.clone_from(&second.id);
    first.envelope["event_id"] = second.id.clone().into();
    first.notification["event_id"] = second.id.clone().into();
    let mut clients = [stack.client(&users[0]).await?, stack.client(&users[1]).await?];
    stack.producer.send_all(&[first.clone(), second.clone()]).await?;
    expect_notifications(&mut clients[0], &[first]).await?;
    expect_notifications(&mut clients[1], &[second]).await
}

async fn a_header_with_the_event_id_wins_over_the_body(context: &Context) -> anyhow::Result<()> {
    let (stack, user) = (context.stack().await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let mut event = events::designed()?[0].fresh(&user)?;
    let real = Uuid::new_v4().to_string();
    for _ in 0..2 {
        // The body's id differs each time.
        event.envelope["event_id"] = Uuid::new_v4().to_string().into();
        let value = serde_json::to_vec(&event.envelope)?;
        let headers = [("event_id", &*real)];
        let (topic, key) = (&*event.topic, Some(&*event.key));
        let value = Some(&*value);
        let record = Record { topic, key, value, headers: &headers, ..Record::default() };
        stack.producer.send_record(record).await?;
    }
    event.notification["event_id"] = real.clone().into();
    event.id = real;
    let mut last = events::designed()?[0].fresh(&user)?;
    last.key.clone_from(&event.key);
    stack.producer.send(&last).await?;
    expect_notifications(&mut clients[0], &[event, last]).await?;
    expect_no_further_frames(stack, &user, &mut clients).await
}

async fn content_as_identity_catches_a_resend_under_a_new_id(
    context: &Context,
) -> anyhow::Result<()> {
    let worker_settings = vec![("IDEMPOTENCY_IDENTITY", "content".to_owned())];
    let stack = context.own_stack(&Layout { worker_settings, ..Layout::default() }).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let event = events::designed()?[0].fresh(&user)?;
    stack.producer.send(&event).await?;
    let mut resent = event.clone();
    resent.envelope["event_id"] = Uuid::new_v4().to_string().into();
    stack.producer.send(&resent).await?;
    let mut last = events::designed()?[0].fresh(&user)?;
    last.key.clone_from(&event.key);
    stack.producer.send(&last).await?;
    expect_notifications(&mut clients[0], &[event, last]).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    stack.shut_down_and_check_logs().await
}
