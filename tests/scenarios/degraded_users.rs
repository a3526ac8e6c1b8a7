//! Redis refuses writes, or the data of one user is unreadable: that user is served without a
//! position, and every other user as usual.

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use harness::{
    client::Client,
    events::fresh_user,
    eventually, free_port,
    redis::stream_key,
    stack::{Layout, Stack, TIMEOUT},
};
use redis::{aio::MultiplexedConnection, cmd};
use serde_json::json;

use crate::{assertions::during_two_redis_probes, context::Context, runner::scenarios};

scenarios![
    a_redis_that_refuses_writes_degrades_only_users_without_history,
    a_user_who_reconnects_at_once_always_gets_a_position,
    unreadable_values_in_redis_degrade_only_their_user,
    a_frame_with_an_implausible_id_is_skipped,
];

/// The gateway loads the revocations every 30 s.
const REVOCATIONS_TIMEOUT: Duration = Duration::from_secs(45);

/// Without a worker: the scenarios publish to Redis themselves.
fn gateway_only() -> Layout {
    Layout { workers: 0, ..Layout::default() }
}

async fn run(redis: &mut MultiplexedConnection, words: &[&str]) -> anyhow::Result<()> {
    let result = cmd(words[0]).arg(&words[1..]).exec_async(redis).await;
    result.with_context(|| words.join(" "))
}

/// Connects and returns the client and its position.
async fn connect(stack: &Stack, user: &str) -> anyhow::Result<(Client, String)> {
    let mut client = stack.connection(0, user)?.open().await?;
    let state = client.expect_authenticated(TIMEOUT).await?;
    let position = state["last_event_id"].as_str().context("the state has a position")?;
    Ok((client, position.to_owned()))
}

/// Publishes a frame to a user and waits until the client has it.
async fn expect_live(stack: &Stack, user: &str, client: &mut Client) -> anyhow::Result<()> {
    let frame = json!({"event": "probe", "data": {"nonce": fresh_user()}});
    let receivers = stack.publish(user, &frame.to_string()).await?;
    ensure!(receivers == 1, "expected one subscribed gateway, got {receivers}");
    let received = client.next_notification(TIMEOUT).await?;
    ensure!(received == frame, "expected {frame}, got {received}");
    Ok(())
}

/// Makes the value of a user in Redis, named by `kind`, unreadable.
async fn spoil(redis: &mut MultiplexedConnection, kind: &str, user: &str) -> anyhow::Result<()> {
    let stream = stream_key(user);
    let mut xadd = cmd("XADD");
    match kind {
        "stream" | "start" | "position" => {
            let key = format!("ws:{kind}:{{{user}}}");
            return run(redis, &["SADD", &key, "member"]).await;
        }
        "field" => xadd.arg(stream).arg("5-5").arg(&[0xff_u8][..]).arg("x"),
        "value" => xadd.arg(stream).arg("5-5").arg("n").arg(&[0xff_u8][..]),
        _ => xadd.arg(stream).arg("99999999999999-0").arg("n").arg("{\"event\":\"e\"}"),
    };
    xadd.exec_async(redis).await.with_context(|| kind.to_owned())
}

async fn outages(stack: &Stack) -> anyhow::Result<f64> {
    stack.gateways[0].metric("gateway_redis_outages_total").await
}

/// Has Redis refuse writes for the reason `kind`, or accept them again.
async fn refuse_writes(
    redis: &mut MultiplexedConnection,
    kind: &str,
    is_refused: bool,
) -> anyhow::Result<()> {
    let number = if is_refused { "1" } else { "0" };
    match kind {
        "out_of_memory" => run(redis, &["CONFIG", "SET", "maxmemory", number]).await,
        "too_few_replicas" => run(redis, &["CONFIG", "SET", "min-replicas-to-write", number]).await,
        "read_only" if is_refused => {
            let dead_master = free_port()?.to_string();
            run(redis, &["REPLICAOF", "127.0.0.1", &dead_master]).await
        }
        "read_only" => run(redis, &["REPLICAOF", "NO", "ONE"]).await,
        _ => take_snapshot(redis, is_refused).await,
    }
}

/// Has Redis take a snapshot, which fails or not. After one that fails, Redis refuses writes, and
/// `PING` as well.
async fn take_snapshot(redis: &mut MultiplexedConnection, fails: bool) -> anyhow::Result<()> {
    let settings: HashMap<String, String> =
        cmd("CONFIG").arg(&["GET", "dir"]).query_async(redis).await?;
    let folder = settings.get("dir").context("Redis has a folder")?;
    // The file of the snapshot cannot replace a folder.
    let snapshot = Path::new(folder).join("dump.rdb");
    if fails {
        std::fs::create_dir(&snapshot)?;
    } else {
        std::fs::remove_dir(&snapshot)?;
    }
    run(redis, &["CONFIG", "SET", "save", "3600 1000000"]).await?;
    run(redis, &["BGSAVE"]).await?;
    let result = if fails { "rdb_last_bgsave_status:err" } else { "rdb_last_bgsave_status:ok" };
    let connection = redis.clone();
    eventually("the snapshot has ended", TIMEOUT, async || {
        let mut info = cmd("INFO");
        let info: String = info.arg("persistence").query_async(&mut connection.clone()).await?;
        ensure!(info.contains(result), "expected {result} in {info}");
        Ok(())
    })
    .await
}

async fn a_redis_that_refuses_writes_degrades_only_users_without_history(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&gateway_only()).await?;
    let mut redis = stack.redis.connection().await?;
    for kind in ["out_of_memory", "too_few_replicas", "read_only", "persistence_failed"] {
        let [old, new] = [fresh_user(), fresh_user()];
        run(&mut redis, &["XADD", &stream_key(&old), "1-1", "n", "{\"event\":\"e\"}"]).await?;
        let (mut old_client, position) = connect(&stack, &old).await?;
        ensure!(position == "1-1", "expected 1-1, got {position}");
        let before = outages(&stack).await?;
        refuse_writes(&mut redis, kind, true).await?;
        let (mut new_client, position) = connect(&stack, &new).await?;
        ensure!(position == "0-0", "{kind}: expected position 0-0, got {position}");
        during_two_redis_probes(&stack.gateways[0], async || {
            expect_live(&stack, &old, &mut old_client).await?;
            expect_live(&stack, &new, &mut new_client).await
        })
        .await?;
        let mut resumed = stack.connection(0, &old)?.query("last_event_id", "1-1").open().await?;
        let state = resumed.expect_authenticated(TIMEOUT).await?;
        // What a replica has may be old.
        let expected = if kind == "read_only" { "incomplete" } else { "complete" };
        ensure!(state["resume"] == expected, "{kind}: expected resume {expected}, got {state}");
        expect_refused_read(&stack, &mut resumed, kind).await?;
        refuse_writes(&mut redis, kind, false).await?;
        let mut read = resumed.next_frame(TIMEOUT).await?;
        // After an incomplete resume it comes as soon as Redis stores it.
        if read["data"]["state"] == "position" {
            read = resumed.next_frame(TIMEOUT).await?;
        }
        ensure!(read["data"]["up_to"] == "1-1", "{kind}: expected the cursor at 1-1, got {read}");
        ensure!(outages(&stack).await? <= before, "{kind}: the session with Redis ended");
        eventually("the user has a position", TIMEOUT, async || {
            let (_, position) = connect(&stack, &new).await?;
            ensure!(position != "0-0", "{kind}: still without a position");
            Ok(())
        })
        .await?;
    }
    stack.shut_down_and_check_logs().await
}

/// Marks the first notification as read, which Redis refuses.
async fn expect_refused_read(stack: &Stack, client: &mut Client, kind: &str) -> anyhow::Result<()> {
    let errors = format!("gateway_redis_user_errors_total{{kind=\"{kind}\"}}");
    let before = stack.gateways[0].metric(&errors).await?;
    client.send_json(&json!({"type": "read", "up_to": "1-1"})).await?;
    eventually("the read cursor is refused", TIMEOUT, async || {
        ensure!(stack.gateways[0].metric(&errors).await? > before, "no error of {kind}");
        Ok(())
    })
    .await
}

async fn a_user_who_reconnects_at_once_always_gets_a_position(
    context: &Context,
) -> anyhow::Result<()> {
    const USERS: usize = 8;
    const RECONNECTS: usize = 60;
    let stack = context.own_stack(&gateway_only()).await?;
    try_join_all((0..USERS).map(|_| async {
        let user = fresh_user();
        for _ in 0..RECONNECTS {
            // Closed while the gateway still reads the position for it.
            drop(stack.connection(0, &user)?.open().await?);
            let (_, position) = connect(&stack, &user).await?;
            ensure!(position != "0-0", "a connection without a position");
        }
        Ok(())
    }))
    .await?;
    stack.shut_down_and_check_logs().await
}

async fn unreadable_values_in_redis_degrade_only_their_user(
    context: &Context,
) -> anyhow::Result<()> {
    let stack = context.own_stack(&gateway_only()).await?;
    let mut redis = stack.redis.connection().await?;
    let healthy = fresh_user();
    let (mut client, _) = connect(&stack, &healthy).await?;
    let before = outages(&stack).await?;
    cmd("ZADD").arg("ws:revoked").arg("+inf").arg(&[0xff_u8][..]).exec_async(&mut redis).await?;
    for unreadable in ["start", "position", "stream", "field", "value", "future"] {
        let user = fresh_user();
        spoil(&mut redis, unreadable, &user).await?;
        let mut resumed = stack.connection(0, &user)?.query("last_event_id", "1-1").open().await?;
        let state = resumed.expect_authenticated(TIMEOUT).await?;
        ensure!(
            state["resume"] == "incomplete",
            "{unreadable}: expected an incomplete resume, got {state}"
        );
        expect_live(&stack, &user, &mut resumed).await?;
        expect_live(&stack, &healthy, &mut client).await?;
    }
    let malformed = async || stack.gateways[0].metric("gateway_malformed_frames_total").await;
    let counted = malformed().await?;
    // The unreadable revocation is counted each time the revocations are loaded.
    eventually("the revocations are loaded again", REVOCATIONS_TIMEOUT, async || {
        let now = malformed().await?;
        ensure!(now > counted, "expected more than {counted} malformed values, got {now}");
        Ok(())
    })
    .await?;
    expect_live(&stack, &healthy, &mut client).await?;
    ensure!(outages(&stack).await? <= before, "the session with Redis ended");
    stack.shut_down_and_check_logs().await
}

async fn a_frame_with_an_implausible_id_is_skipped(context: &Context) -> anyhow::Result<()> {
    let stack = context.own_stack(&gateway_only()).await?;
    let user = fresh_user();
    let (mut client, _) = connect(&stack, &user).await?;
    let frame = |id: &str| format!(r#"{{"id":"{id}","event":"e","data":{{}}}}"#);
    stack.publish(&user, &frame("18446744073709551615-0")).await?;
    stack.publish(&user, &frame("99999999999999-0")).await?;
    stack.publish(&user, &frame("1754471730123-0")).await?;
    let received = client.next_notification(TIMEOUT).await?;
    ensure!(received["id"] == "1754471730123-0", "expected the plausible frame, got {received}");
    let skipped = stack.gateways[0].metric("gateway_malformed_frames_total").await?;
    ensure!(skipped >= 2.0, "{skipped} frames are counted as malformed");
    let (_, position) = connect(&stack, &user).await?;
    ensure!(position == "1754471730123-0", "the position moved to {position}");
    stack.shut_down_and_check_logs().await
}
