//! Events as they are sent today: many name no user, and their owner becomes known later.

use std::sync::Arc;

use anyhow::ensure;
use e2e::{
    events::{self, fresh_user},
    producer::{header, read_topic},
    stack::{LIMIT, Layout},
};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rdkafka::Message as _;

use crate::{Scenario, expect, scenario, world::World};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(deployed_events_arrive_once_their_owners_are_known),
        scenario(an_event_that_waits_for_its_owner_holds_nobody_up),
        scenario(an_event_whose_owner_stays_unknown_is_dead_lettered),
    ]
}

async fn deployed_events_arrive_once_their_owners_are_known(
    world: Arc<World>,
) -> anyhow::Result<()> {
    let worker_settings = vec![("NOTIFICATION_SOURCE", "both".to_owned())];
    let layout = Layout { workers: 2, worker_settings, ..Layout::default() };
    let (stack, user) = (world.own_stack(&layout).await?, fresh_user());
    let mut clients = [stack.client(&user).await?];
    let cases = events::deployed()?;
    let events = cases.iter().map(|case| case.fresh(&user));
    let mut events = events.collect::<anyhow::Result<Vec<_>>>()?;
    let seed = rand::random();
    eprintln!("the events are shuffled with seed {seed}");
    events.shuffle(&mut StdRng::seed_from_u64(seed));
    stack.producer.send_all(&events).await?;
    let registrations: Vec<_> = events.iter().map(events::Event::registration).collect();
    stack.producer.send_all(&registrations).await?;
    events.retain(|event| !event.notification.is_null());
    expect::exactly(&mut clients[0], &events).await?;
    expect::nothing_else(&stack, &user, &mut clients).await?;
    drop(clients);
    stack.stop().await
}

async fn an_event_that_waits_for_its_owner_holds_nobody_up(
    world: Arc<World>,
) -> anyhow::Result<()> {
    let (stack, user, later) = (world.stack().await?, fresh_user(), fresh_user());
    let mut clients = [stack.client(&user).await?, stack.client(&later).await?];
    let case = &events::designed()?[2];
    let mut known = case.fresh(&user)?;
    let mut waiting = (0..100).map(|_| case.fresh(&later)).collect::<anyhow::Result<Vec<_>>>()?;
    for event in &mut waiting {
        event.envelope["data"].as_object_mut().map(|data| data.remove("user_id"));
        event.key.clone_from(&known.key);
    }
    stack.producer.send_all(&waiting).await?;
    known.key.clone_from(&waiting[0].key);
    stack.producer.send(&known).await?;
    expect::exactly(&mut clients[0], &[known]).await?;
    let published = stack.redis.stream(&later).await?.len();
    ensure!(published == 0, "{published} events found an owner that nobody has named");
    let registrations: Vec<_> = waiting.iter().map(events::Event::registration).collect();
    stack.producer.send_all(&registrations).await?;
    expect::exactly(&mut clients[1], &waiting).await
}

async fn an_event_whose_owner_stays_unknown_is_dead_lettered(
    world: Arc<World>,
) -> anyhow::Result<()> {
    let worker_settings = vec![("OWNER_WAIT", "1s".to_owned())];
    let layout = Layout { gateways: 0, worker_settings, ..Layout::default() };
    let stack = world.own_stack(&layout).await?;
    let mut event = events::designed()?[2].fresh(&fresh_user())?;
    event.envelope["data"].as_object_mut().map(|data| data.remove("user_id"));
    stack.producer.send(&event).await?;
    let enough = |letters: &[rdkafka::message::OwnedMessage]| {
        letters.iter().any(|letter| letter.key() == Some(event.key.as_bytes()))
    };
    let letters = read_topic(&stack.kafka, &stack.dead_letter_topic, LIMIT, enough).await?;
    let letter = letters.iter().find(|letter| letter.key() == Some(event.key.as_bytes()));
    let reason = letter.and_then(|letter| header(letter, "dlq.reason"));
    ensure!(reason == Some("recipient_unknown"), "the reason is {reason:?}");
    stack.stop().await
}
