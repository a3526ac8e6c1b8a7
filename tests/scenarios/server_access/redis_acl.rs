//! Redis with one ACL user per service, as `shared/README.md` defines them: the rights of each
//! suffice and exclude everything else, and a changed password is survived.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, Event, fresh_user},
    eventually,
    redis::Redis,
    stack::{Layout, Stack, TIMEOUT},
    workspace,
};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use tokio::time::Instant;

use super::wait_for_log;
use crate::{
    assertions::{expect_no_further_frames, expect_notifications},
    context::Context,
    runner::scenarios,
};

scenarios![
    the_acl_of_each_service_permits_its_commands_and_no_others,
    a_rejected_redis_password_is_logged_and_retried_at_a_bounded_rate,
    owners_that_redis_refuses_delay_no_other_record,
    an_event_that_redis_refused_is_published_once_as_soon_as_it_is_permitted,
];

const PASSWORDS: [(&str, &str); 2] = [("worker", "of-redis-3b07"), ("gateway", "of-redis-9e54")];

/// A stack whose services log in to Redis as the users of the README.
pub(crate) async fn stack_with_acl(context: &Context) -> anyhow::Result<Stack> {
    let folder = workspace::temporary("stack-")?;
    let redis = Redis::start(folder.path()).await?;
    for (user, password) in PASSWORDS {
        run(&mut redis.connection().await?, &definition(user, password)?).await?;
    }
    let port = redis.address().port();
    let [worker_settings, gateway_settings] =
        PASSWORDS.map(|(user, password)| vec![("REDIS_URL", url(user, password, port))]);
    let layout = Layout { worker_settings, gateway_settings, ..Layout::default() };
    context.stack_with_redis(&layout, folder, redis).await
}

/// Returns the command by which the README defines a user.
pub(crate) fn definition(user: &str, password: &str) -> anyhow::Result<String> {
    let readme = include_str!("../../../shared/README.md");
    let command = readme.lines().find(|line| line.starts_with(&format!("ACL SETUSER {user} ")));
    let command = command.with_context(|| format!("the README defines no user {user}"))?;
    Ok(command.replace(">PASSWORD", &format!(">{password}")))
}

/// Replaces parts of the permissions of `worker` or `gateway` while it is connected.
pub(crate) async fn change(
    stack: &Stack,
    user: &str,
    parts: &[(&str, &str)],
) -> anyhow::Result<()> {
    let password = PASSWORDS.into_iter().find(|(name, _)| *name == user);
    let (_, password) = password.with_context(|| format!("no service logs in as {user}"))?;
    let mut command = definition(user, password)?.replace(" on ", " reset on ");
    for (part, other) in parts {
        ensure!(command.contains(part), "the permissions of {user} lack {part}");
        command = command.replacen(part, other, 1);
    }
    Ok(run(&mut stack.redis.connection().await?, &command).await?)
}

/// Waits until this many records are parked because Redis refused a command.
async fn wait_until_refused(stack: &Stack, records: f64) -> anyhow::Result<()> {
    eventually("records are parked", TIMEOUT, async || {
        let series = r#"ingest_worker_parked_records{reason="redis_refused"}"#;
        let parked = stack.workers[0].metric(series).await?;
        ensure!(parked >= records, "expected {records} records refused by Redis, got {parked}");
        Ok(())
    })
    .await
}

pub(crate) fn url(user: &str, password: &str, port: u16) -> String {
    format!("redis://{user}:{password}@127.0.0.1:{port}")
}

/// Runs a command, whose words are separated by spaces outside parentheses.
pub(crate) async fn run(
    connection: &mut MultiplexedConnection,
    command: &str,
) -> redis::RedisResult<()> {
    let mut words: Vec<String> = Vec::new();
    for word in command.split(' ') {
        match words.last_mut() {
            Some(open) if open.starts_with('(') && !open.ends_with(')') => {
                *open = format!("{open} {word}");
            }
            _ => words.push(word.to_owned()),
        }
    }
    let mut call = redis::cmd(&words[0]);
    call.arg(&words[1..]).exec_async(connection).await
}

async fn the_acl_of_each_service_permits_its_commands_and_no_others(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_acl(context).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut events = events::one_of_each(&user)?;
    // The owner of this one has to be looked up.
    stack.producer.send(&events[2].registration()).await?;
    for field in ["user_id", "teacher_id", "created_by_user_id"] {
        events[2].envelope["data"].as_object_mut().map(|data| data.remove(field));
    }
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    let position = stack.stream(&user).await?[0].0.clone();
    // Pooled connections are used again.
    for _ in 0..3 {
        let resumed = stack.connection(0, &user)?.query("last_event_id", &position);
        let state = resumed.open().await?.expect_authenticated(TIMEOUT).await?;
        ensure!(state["resume"] == "complete", "expected a complete resume, got {state}");
    }
    client.send_json(&json!({"type": "read", "up_to": position})).await?;
    let read = client.next_frame(TIMEOUT).await?;
    ensure!(read["data"]["up_to"] == *position, "expected the read state, got {read}");
    let mut denied = denials(&mut stack.redis.connection().await?).await?;
    // The name and version that the library states are not needed.
    denied.retain(|denial| !denial.object.starts_with("client"));
    ensure!(denied.is_empty(), "expected no denied command, got {denied:?}");
    expect_other_commands_to_be_denied(&stack).await?;
    stack.shut_down_and_check_logs().await
}

async fn expect_other_commands_to_be_denied(stack: &Stack) -> anyhow::Result<()> {
    let of_neither = [
        "GET other",
        "KEYS *",
        "FLUSHALL",
        "CONFIG GET *",
        "ACL LIST",
        "MONITOR",
        "SUBSCRIBE other",
        "PSUBSCRIBE *",
        "PUBLISH other x",
        "CLIENT LIST",
        "SCRIPT FLUSH",
    ];
    let of_gateway =
        ["SUBSCRIBE ws:u", "XREVRANGE ws:stream:{u} + -", "XREAD STREAMS ws:stream:{u} 0"];
    let of_worker = [
        "XADD ws:stream:{u} * n x",
        "DEL ws:stream:{u}",
        "SET ws:stream:{u} x",
        "SET ws:seen:{u}:x y",
        "SET ws:owner:batch:b u",
        "GET ws:owner:batch:b",
        "PUBLISH ws/revoked x",
        "PUBLISH ws/gateways x",
        "EVAL return(redis.call('XADD',KEYS[1],'*','n','x')) 1 ws:stream:{u}",
        "EVAL return(redis.call('PUBLISH','ws/revoked','x')) 0",
    ];
    let port = stack.redis.address().port();
    for ((user, password), of_other) in PASSWORDS.into_iter().zip([&of_gateway[..], &of_worker]) {
        let client = redis::Client::open(url(user, password, port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        for command in of_neither.iter().chain(of_other) {
            let error = run(&mut connection, command).await.err();
            let error = error.with_context(|| format!("{user} may run {command}"))?.to_string();
            let denials =
                ["noperm", "permission", "acl", "can't run this command", "can't publish"];
            let is_denied = denials.iter().any(|denial| error.to_lowercase().contains(denial));
            ensure!(is_denied, "{user}, {command}: expected a denial, got {error}");
        }
    }
    Ok(())
}

async fn a_rejected_redis_password_is_logged_and_retried_at_a_bounded_rate(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_acl(context).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut admin = stack.redis.connection().await?;
    for (name, _) in PASSWORDS {
        run(&mut admin, &format!("ACL SETUSER {name} resetpass >another")).await?;
        run(&mut admin, &format!("CLIENT KILL USER {name}")).await?;
    }
    let started = Instant::now();
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    for (service, name) in [(&stack.workers[0], "worker"), (&stack.gateways[0], "gateway")] {
        eventually(&format!("the {name} retries"), TIMEOUT, async || {
            let rejected = rejected_logins(&mut stack.redis.connection().await?, name).await?;
            ensure!(rejected >= 4.0, "expected at least 4 rejected logins, got {rejected}");
            Ok(())
        })
        .await?;
        wait_for_log(service, "WRONGPASS").await?;
    }
    let seconds = started.elapsed().as_secs_f64().max(1.0);
    for (name, _) in PASSWORDS {
        // The worker retries twice a second, and the gateway with up to three connections.
        let rejected = rejected_logins(&mut admin, name).await?;
        let is_bounded = rejected / seconds < 12.0;
        ensure!(is_bounded, "{name}: expected under 12/s, got {rejected} in {seconds:.1} s");
    }
    for (name, password) in PASSWORDS {
        run(&mut admin, &format!("ACL SETUSER {name} resetpass >{password}")).await?;
    }
    expect_notifications(&mut client, &events).await?;
    stack.shut_down_and_check_logs().await
}

/// What Redis has denied to a user, from `ACL LOG`.
#[derive(Debug)]
struct Denial {
    user: String,
    /// `auth`, `command`, `key` or `channel`.
    reason: String,
    object: String,
    count: f64,
}

async fn denials(admin: &mut MultiplexedConnection) -> anyhow::Result<Vec<Denial>> {
    let log: Vec<HashMap<String, redis::Value>> =
        redis::cmd("ACL").arg("LOG").query_async(admin).await?;
    let denial = |entry: HashMap<String, redis::Value>| {
        let field = |name: &str| {
            let value = entry.get(name).cloned().with_context(|| format!("no field {name}"))?;
            Ok::<String, anyhow::Error>(redis::from_redis_value(value)?)
        };
        let (user, reason, object) = (field("username")?, field("reason")?, field("object")?);
        Ok(Denial { user, reason, object, count: field("count")?.parse()? })
    };
    log.into_iter().map(denial).collect()
}

/// The number of rejected logins of a user.
async fn rejected_logins(admin: &mut MultiplexedConnection, user: &str) -> anyhow::Result<f64> {
    let denials = denials(admin).await?;
    let logins = denials.iter().filter(|denial| denial.reason == "auth" && denial.user == user);
    Ok(logins.map(|denial| denial.count).sum())
}

async fn owners_that_redis_refuses_delay_no_other_record(context: &Context) -> anyhow::Result<()> {
    let stack = stack_with_acl(context).await?;
    let [user, other] = [fresh_user(), fresh_user()];
    let mut clients = [stack.client(&user).await?, stack.client(&other).await?];
    let mut events = events::one_of_each(&user)?;
    let mut without_user = events.swap_remove(2);
    change(&stack, "worker", &[("~ws:owner:*", "~ws:owner:class:*")]).await?;
    // The owner of its batch can be neither stored nor looked up.
    stack.producer.send(&without_user.registration()).await?;
    for field in ["user_id", "teacher_id", "created_by_user_id"] {
        without_user.envelope["data"].as_object_mut().map(|data| data.remove(field));
    }
    stack.producer.send(&without_user).await?;
    wait_until_refused(&stack, 2.0).await?;
    let has_class = |event: &Event| event.envelope["data"]["batch_id"].is_null();
    let of_other: Vec<Event> = events::one_of_each(&other)?.into_iter().filter(has_class).collect();
    ensure!(!of_other.is_empty(), "no event without a batch");
    stack.producer.send_all(&of_other).await?;
    expect_notifications(&mut clients[1], &of_other).await?;
    change(&stack, "worker", &[]).await?;
    expect_notifications(&mut clients[0], &[without_user]).await?;
    stack.shut_down_and_check_logs().await
}

async fn an_event_that_redis_refused_is_published_once_as_soon_as_it_is_permitted(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = stack_with_acl(context).await?;
    let user = fresh_user();
    let mut clients = [stack.client(&user).await?];
    let event = events::designed()?[0].fresh(&user)?;
    // Neither can it be published, nor its claim deleted.
    change(&stack, "worker", &[("&ws:* ", ""), ("+del", "")]).await?;
    stack.producer.send(&event).await?;
    wait_until_refused(&stack, 1.0).await?;
    change(&stack, "worker", &[]).await?;
    expect_notifications(&mut clients[0], &[event]).await?;
    expect_no_further_frames(&stack, &user, &mut clients).await?;
    let history = stack.stream(&user).await?;
    ensure!(history.len() == 1, "expected one entry in the history, got {history:?}");
    stack.shut_down_and_check_logs().await
}
