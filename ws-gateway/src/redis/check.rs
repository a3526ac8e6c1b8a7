//! What the command `check` finds out about the Redis that the gateway subscribes to.

use std::convert::Infallible;

use redis::{Cmd, PushInfo, RedisResult, cmd};
use shared::{
    findings::Findings,
    keys::Keys,
    redis::{
        Channel, RedisClient,
        check::{self, check_permissions, is_denied, report_denied, unused_user},
    },
};

use super::operators;

/// Checks Redis with commands that change nothing.
pub(crate) async fn check(client: &RedisClient) -> Findings {
    check::check(client, async |connection, findings| {
        let keys = &client.keys;
        check_permissions(connection, keys, permissions(keys), findings).await?;
        check_channels(client, findings).await
    })
    .await
}

/// Commands on keys that do not exist, and on channels whose messages are ignored.
fn permissions(keys: &Keys) -> Vec<(&'static str, Cmd)> {
    let user = unused_user();
    let (stream, start) = (keys.stream(&user), keys.start(&user));
    let (position, read) = (keys.position(&user), keys.read(&user));
    let set = |key: &str| cmd("SET").arg(key).arg("").arg("XX").to_owned();
    let range = |name: &str| cmd(name).arg(&stream).arg("-").arg("-").to_owned();
    let beginning = |key: &str| cmd("GETRANGE").arg(key).arg(0).arg(0).to_owned();
    let publish = |channel: &str| cmd("PUBLISH").arg(channel).arg("").to_owned();
    let newest_first = cmd("XREVRANGE").arg(&stream).arg("-").arg("-").to_owned();
    let mut script = cmd("EVAL");
    script.arg("return 1").arg(4).arg(&stream).arg(&start).arg(&position).arg(&read);
    let mut revoked = cmd("ZREVRANGEBYSCORE");
    revoked.arg(keys.revocations()).arg("-inf").arg("-inf");
    vec![
        ("+unwatch", cmd("UNWATCH")),
        ("+role", cmd("ROLE")),
        ("+eval ~ws:stream:* ~ws:start:* ~ws:position:* ~ws:read:*", script),
        ("+xlen %R~ws:stream:*", cmd("XLEN").arg(&stream).to_owned()),
        ("+xrange %R~ws:stream:*", range("XRANGE")),
        ("+xrevrange %R~ws:stream:*", newest_first),
        ("+memory|usage %R~ws:stream:*", cmd("MEMORY").arg("USAGE").arg(&stream).to_owned()),
        ("+get %R~ws:start:*", Cmd::get(&start)),
        ("+get ~ws:position:*", Cmd::get(&position)),
        ("+set ~ws:position:*", set(&position)),
        ("+get ~ws:read:*", Cmd::get(&read)),
        ("+set ~ws:read:*", set(&read)),
        ("+getrange %R~ws:start:*", beginning(&start)),
        ("+getrange %R~ws:position:*", beginning(&position)),
        ("+getrange %R~ws:read:*", beginning(&read)),
        ("+zrevrangebyscore %R~ws:revoked", revoked),
        ("+publish &ws:*", publish(&keys.channel(&user))),
        ("+publish &ws/probe*", publish(&keys.probe_channel())),
        ("+publish &ws/gateways/*", publish(&keys.answer_channel(&user))),
    ]
}

/// Subscribes to each channel, as a session does.
async fn check_channels(client: &RedisClient, findings: &mut Findings) -> RedisResult<()> {
    let keys = &client.keys;
    let ignore = |_: PushInfo| Ok::<_, Infallible>(());
    let (mut pubsub, _) = client.connect_with_pubsub(ignore).await?;
    let user = unused_user();
    let of_user = Channel { name: keys.channel(&user), slot_key: keys.stream(&user) };
    let [requests, counts] = operators::channels(keys);
    let mut channels = vec![
        ("+subscribe &ws:*", of_user),
        ("+subscribe &ws/revoked", operators::channel(keys.revocation_channel())),
        ("+subscribe &ws/gateways", requests),
        ("+subscribe &ws/gateways/counts", counts),
    ];
    let probes = pubsub.channel_of_each_server(&keys.probe_channel()).into_iter();
    channels.extend(probes.map(|probe| ("+subscribe &ws/probe*", probe)));
    for (rule, channel) in channels {
        let reply = pubsub.subscribe(vec![channel]).await;
        if is_denied(&reply) {
            report_denied([rule], keys, findings);
        } else {
            reply?;
        }
    }
    Ok(())
}
