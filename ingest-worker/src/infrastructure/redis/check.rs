//! What the command `check` finds out about the Redis that the worker publishes to.

use redis::{Cmd, RedisResult, cmd, from_redis_value};
use shared::{
    findings::Findings,
    keys::{Keys, STREAM_FIELD},
    redis::{
        RedisClient, RedisConnection, ReplicaAck,
        check::{self, SUBJECT, check_permissions, unused_user},
    },
    time::millis,
};
use uuid::Uuid;

use super::store::{PUBLISH_ONCE, load};

/// Checks Redis with commands that change nothing.
pub(crate) async fn check(client: &RedisClient, ack: Option<ReplicaAck>) -> Findings {
    let keys = &client.keys;
    check::check(client, async |connection, findings| {
        check_permissions(connection, keys, permissions(keys), findings).await?;
        check_watermark(connection, keys, findings).await?;
        check_script(connection, keys, findings).await?;
        match ack {
            Some(ack) => check_replicas(connection, keys, ack, findings).await,
            None => Ok(()),
        }
    })
    .await
}

/// Commands on keys that do not exist, and on a channel without subscribers.
fn permissions(keys: &Keys) -> Vec<(&'static str, Cmd)> {
    let user = unused_user();
    let (seen, stream) = (keys.seen(&user, "check"), keys.stream(&user));
    let (start, position) = (keys.start(&user), keys.position(&user));
    let (batch, class) = (keys.batch_owner(user.as_str()), keys.class_owner(user.as_str()));
    let watermark = keys.watermark_prefix() + user.as_str();
    let set = |key: &str| cmd("SET").arg(key).arg("").arg("XX").to_owned();
    let expire = |key: &str| cmd("PEXPIRE").arg(key).arg(1).to_owned();
    let mut append = cmd("XADD");
    append.arg(&stream).arg("NOMKSTREAM").arg("*").arg(STREAM_FIELD).arg("");
    let publish = cmd("PUBLISH").arg(keys.channel(&user)).arg("").to_owned();
    let one_field = |name: &str| cmd(name).arg(&watermark).arg("field").to_owned();
    vec![
        ("+publish &ws:*", publish),
        ("+set ~ws:seen:*", set(&seen)),
        ("+get ~ws:seen:*", Cmd::get(&seen)),
        ("+pexpire ~ws:seen:*", expire(&seen)),
        ("+del ~ws:seen:*", Cmd::del(&seen)),
        ("+xadd ~ws:stream:*", append),
        ("+pexpire ~ws:stream:*", expire(&stream)),
        ("+del ~ws:stream:*", Cmd::del(&stream)),
        ("+xrange ~ws:stream:*", cmd("XRANGE").arg(&stream).arg("-").arg("+").to_owned()),
        ("+set ~ws:start:*", set(&start)),
        ("+get ~ws:start:*", Cmd::get(&start)),
        ("+set ~ws:position:*", set(&position)),
        ("+get ~ws:position:*", Cmd::get(&position)),
        ("+del ~ws:position:*", Cmd::del(&position)),
        ("+set ~ws:owner:*", set(&batch)),
        ("+get ~ws:owner:*", Cmd::get(&class)),
        ("+hget ~ws:watermark:*", one_field("HGET")),
        ("+hmget ~ws:watermark:*", one_field("HMGET")),
        ("+del ~ws:watermark:*", Cmd::del(&watermark)),
    ]
}

/// Writes a watermark and deletes it: no command shows the permission without writing.
async fn check_watermark(
    connection: &RedisConnection,
    keys: &Keys,
    findings: &mut Findings,
) -> RedisResult<()> {
    let key = format!("{}check-{}", keys.watermark_prefix(), Uuid::new_v4());
    let write = cmd("HSET").arg(&key).arg("field").arg("").to_owned();
    let permission = ("+hset ~ws:watermark:*", write);
    check_permissions(connection, keys, vec![permission], findings).await?;
    connection.run_where_moved(vec![Cmd::del(&key)]).await.map(drop)
}

/// Loads the publish script and runs it without notifications.
async fn check_script(
    connection: &RedisConnection,
    keys: &Keys,
    findings: &mut Findings,
) -> RedisResult<()> {
    let loaded = load(connection, PUBLISH_ONCE).await;
    if check::is_denied(&loaded) {
        check::report_denied(["+script|load"], keys, findings);
        return Ok(());
    }
    let user = unused_user();
    let mut run = cmd("EVALSHA");
    run.arg(&*loaded?).arg(3);
    run.arg(keys.stream(&user)).arg(keys.start(&user)).arg(keys.position(&user));
    run.arg(keys.channel(&user)).arg(1).arg(1).arg(1).arg(1).arg("");
    let rule = "+evalsha ~ws:seen:* ~ws:stream:* ~ws:start:* ~ws:position:*";
    check_permissions(connection, keys, vec![(rule, run)], findings).await
}

/// Compares the number of connected replicas with the one that must acknowledge each write.
async fn check_replicas(
    connection: &RedisConnection,
    keys: &Keys,
    ack: ReplicaAck,
    findings: &mut Findings,
) -> RedisResult<()> {
    let ReplicaAck { replicas, timeout } = ack;
    let wait = cmd("WAIT").arg(replicas).arg(millis(timeout)).to_owned();
    let reply = connection.run_on_all_nodes(&wait).await;
    if check::is_denied(&reply) {
        check::report_denied(["+wait"], keys, findings);
        return Ok(());
    }
    for connected in reply? {
        let connected: u32 = from_redis_value(connected)?;
        if connected < replicas {
            findings.failed(
                SUBJECT,
                format!("{connected} replicas, REDIS_WAIT_REPLICAS demands {replicas}"),
                "start replicas, or lower REDIS_WAIT_REPLICAS",
            );
        }
    }
    Ok(())
}
