//! Redis with a user for each service, as `shared/README.md` has them: what they may do is enough,
//! and nothing else; and what happens when a password is changed.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use harness::{
    events::{self, fresh_user},
    eventually,
    redis::Redis,
    stack::{Layout, Stack, TIMEOUT},
    workspace,
};
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use super::told;
use crate::{assertions::expect_notifications, context::Context, runner::scenarios};

scenarios![
    each_service_can_do_its_part_on_redis_and_nothing_else,
    a_redis_password_that_is_refused_is_told_and_tried_at_leisure,
];

const PASSWORDS: [(&str, &str); 2] = [("worker", "of-redis-3b07"), ("gateway", "of-redis-9e54")];

/// The users as the README has them, with passwords.
async fn create_users(redis: &Redis) -> anyhow::Result<()> {
    let readme = include_str!("../../../shared/README.md");
    for (user, password) in PASSWORDS {
        let command = readme.lines().find(|line| line.starts_with(&format!("ACL SETUSER {user} ")));
        let command = command.with_context(|| format!("the README has a user {user}"))?;
        let words = command.replace(">PASSWORD", &format!(">{password}"));
        run(&mut redis.connection().await?, &words).await?;
    }
    Ok(())
}

/// Runs a command; parentheses hold words together.
async fn run(connection: &mut MultiplexedConnection, command: &str) -> redis::RedisResult<()> {
    let mut words: Vec<String> = Vec::new();
    for word in command.split(' ') {
        match words.last_mut() {
            Some(open) if is_open(open) => *open = format!("{open} {word}"),
            _ => words.push(word.to_owned()),
        }
    }
    let mut call = redis::cmd(&words[0]);
    call.arg(&words[1..]).exec_async(connection).await
}

fn is_open(word: &str) -> bool {
    word.starts_with('(') && !word.ends_with(')')
}

fn url_of(user: &str, port: u16) -> String {
    let password = PASSWORDS.iter().find(|(name, _)| *name == user).map_or("", |(_, p)| p);
    format!("redis://{user}:{password}@127.0.0.1:{port}")
}

/// A layout whose services log in as their roles.
fn with_roles(redis: &Redis) -> Layout {
    let url = |user| vec![("REDIS_URL", url_of(user, redis.address().port()))];
    Layout { worker_settings: url("worker"), gateway_settings: url("gateway"), ..Layout::default() }
}

async fn each_service_can_do_its_part_on_redis_and_nothing_else(
    context: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("stack-")?;
    let redis = Redis::start(folder.path()).await?;
    create_users(&redis).await?;
    let layout = with_roles(&redis);
    let stack = context.stack_with_redis(&layout, folder, redis).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut events = events::one_of_each(&user)?;
    // One whose owner has to be looked up.
    stack.producer.send(&events[2].registration()).await?;
    for field in ["user_id", "teacher_id", "created_by_user_id"] {
        events[2].envelope["data"].as_object_mut().map(|data| data.remove(field));
    }
    stack.producer.send_all(&events).await?;
    expect_notifications(&mut client, &events).await?;
    drop(client);
    let position = stack.stream(&user).await?[0].0.clone();
    let mut again = stack.connection(0, &user)?.query("last_event_id", &position).open().await?;
    let state = again.expect_authenticated(TIMEOUT).await?;
    ensure!(state["resume"] == "complete", "{state}");
    drop(again);
    nothing_else(&stack).await?;
    stack.shut_down_and_check_logs().await
}

/// Tries, as each of the two, what is not its part.
async fn nothing_else(stack: &Stack) -> anyhow::Result<()> {
    let of_nobody = [
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
        ["SUBSCRIBE ws:u", "XRANGE ws:stream:{u} - +", "XREAD STREAMS ws:stream:{u} 0"];
    let of_worker = [
        "XADD ws:stream:{u} * n x",
        "DEL ws:stream:{u}",
        "SET ws:stream:{u} x",
        "SET ws:seen:{u}:x y",
        "SET ws:owner:batch:b u",
        "GET ws:owner:batch:b",
        "PUBLISH ws:u x",
        "EVAL return(redis.call('XADD',KEYS[1],'*','n','x')) 1 ws:stream:{u}",
        "EVAL return(redis.call('PUBLISH','ws:u','x')) 0",
    ];
    let port = stack.redis.address().port();
    for (user, not_its_part) in [("worker", &of_gateway[..]), ("gateway", &of_worker)] {
        let mut connection =
            redis::Client::open(url_of(user, port))?.get_multiplexed_async_connection().await?;
        for command in of_nobody.iter().chain(not_its_part) {
            let refused = run(&mut connection, command).await;
            let refused = refused.err().with_context(|| format!("{user} may {command}"))?;
            let text = refused.to_string().to_lowercase();
            let reasons = ["noperm", "permission", "acl", "can't run this command"];
            ensure!(
                reasons.iter().any(|reason| text.contains(reason)),
                "{user}: {command}: {refused}"
            );
        }
    }
    Ok(())
}

async fn a_redis_password_that_is_refused_is_told_and_tried_at_leisure(
    context: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("stack-")?;
    let redis = Redis::start(folder.path()).await?;
    create_users(&redis).await?;
    let layout = with_roles(&redis);
    let stack = context.stack_with_redis(&layout, folder, redis).await?;
    let user = fresh_user();
    let mut client = stack.client(&user).await?;
    let mut admin = stack.redis.connection().await?;
    for (name, _) in PASSWORDS {
        run(&mut admin, &format!("ACL SETUSER {name} resetpass >another")).await?;
        run(&mut admin, &format!("CLIENT KILL USER {name}")).await?;
    }
    let began = Instant::now();
    let events = events::one_of_each(&user)?;
    stack.producer.send_all(&events).await?;
    for (service, name) in [(&stack.workers[0], "worker"), (&stack.gateways[0], "gateway")] {
        eventually(&format!("the {name} is refused again and again"), TIMEOUT, async || {
            let refused = refusals(&mut stack.redis.connection().await?, name).await?;
            ensure!(refused >= 4, "{refused} times");
            Ok(())
        })
        .await?;
        told(service, "WRONGPASS").await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    for (name, _) in PASSWORDS {
        let refused = refusals(&mut admin, name).await?;
        // The worker looks every half second, and the gateway with three connections at most.
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let pace = refused as f64 / seconds.max(1.0);
        ensure!(pace < 12.0, "{name} tries {refused} times in {seconds:.1} s");
    }
    for (name, password) in PASSWORDS {
        run(&mut admin, &format!("ACL SETUSER {name} resetpass >{password}")).await?;
    }
    expect_notifications(&mut client, &events).await?;
    stack.shut_down_and_check_logs().await
}

/// How often a user has given a wrong password.
async fn refusals(admin: &mut MultiplexedConnection, user: &str) -> anyhow::Result<u64> {
    let log: Vec<HashMap<String, redis::Value>> =
        redis::cmd("ACL").arg("LOG").query_async(admin).await?;
    let mut count = 0;
    for entry in log {
        let text = |name: &str| entry.get(name).cloned().map(redis::from_redis_value::<String>);
        if text("reason").transpose()?.as_deref() == Some("auth")
            && text("username").transpose()?.as_deref() == Some(user)
        {
            let times = entry.get("count").cloned().context("an entry has a count")?;
            count += redis::from_redis_value::<u64>(times)?;
        }
    }
    Ok(count)
}
