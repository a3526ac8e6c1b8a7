//! The worker's script on a server that refuses some of its commands: either all of a notification
//! is stored and published, or nothing.

use std::collections::BTreeMap;

use anyhow::ensure;
use harness::{redis::Redis, workspace};
use redis::{AsyncCommands as _, aio::MultiplexedConnection, cmd};

use crate::{context::Context, runner::scenarios};

scenarios![a_command_that_redis_refuses_leaves_nothing_of_the_notification_behind];

const SCRIPT: &str =
    include_str!("../../../ingest-worker/src/infrastructure/redis/publish_once.lua");
/// Commands after which the script writes, reads or publishes; each subset is refused once.
const COMMANDS: [&str; 8] = ["set", "get", "xadd", "pexpire", "del", "publish", "xdel", "time"];
/// The user's stream, its start, and the user's newest position.
const KEYS: [&str; 3] = ["ws:stream:{u}", "ws:start:{u}", "ws:position:{u}"];
const CLAIM: &str = "ws:seen:{u}:1";
const TEXT: &str = r#"{"event":"x"}"#;
const MINUTE_MS: u64 = 60_000;

/// What a user's stream holds before the script runs.
#[derive(Clone, Copy, Debug)]
enum Stream {
    Missing,
    OneEntry,
    /// Its newest entry has a time in the future.
    FromTheFuture,
    OfTheWrongType,
}

struct Server {
    admin: MultiplexedConnection,
    worker: MultiplexedConnection,
    script: String,
}

async fn a_command_that_redis_refuses_leaves_nothing_of_the_notification_behind(
    _: &Context,
) -> anyhow::Result<()> {
    let folder = workspace::temporary("redis-")?;
    let redis = Redis::start(folder.path()).await?;
    let mut server = Server::connect(&redis).await?;
    let streams =
        [Stream::Missing, Stream::OneEntry, Stream::FromTheFuture, Stream::OfTheWrongType];
    for refused in 0..1_u32 << COMMANDS.len() {
        let refused: Vec<&str> = (0..)
            .zip(COMMANDS)
            .filter(|(bit, _)| refused >> bit & 1 == 1)
            .map(|(_, c)| c)
            .collect();
        for stream in streams {
            server
                .expect_all_or_nothing(&refused, stream)
                .await
                .map_err(|error| error.context(format!("without {refused:?}, {stream:?}")))?;
        }
    }
    Ok(())
}

impl Server {
    async fn connect(redis: &Redis) -> anyhow::Result<Self> {
        let mut admin = redis.connection().await?;
        let user = "ACL SETUSER worker on >password allcommands allkeys allchannels";
        let words: Vec<&str> = user.split(' ').collect();
        cmd(words[0]).arg(&words[1..]).exec_async(&mut admin).await?;
        let script = cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut admin).await?;
        let url = format!("redis://worker:password@{}", redis.address());
        let worker = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { admin, worker, script })
    }

    async fn expect_all_or_nothing(
        &mut self,
        refused: &[&str],
        stream: Stream,
    ) -> anyhow::Result<()> {
        self.prepare(stream).await?;
        let before = self.data().await?;
        self.permit_all_but(refused).await?;
        let mut replies = Vec::new();
        for _ in 0..2 {
            let reply = self.publish().await?;
            if reply.starts_with('-') && replies.is_empty() {
                let after = self.data().await?;
                ensure!(after == before, "{reply}: expected {before:?}, got {after:?}");
            }
            replies.push(reply);
        }
        self.permit_all_but(&[]).await?;
        replies.push(self.publish().await?);
        let published = replies.iter().filter(|reply| !reply.starts_with(['-', 'd'])).count();
        ensure!(published == 1, "expected one to be published, got {replies:?}");
        let entries: Vec<(String, Vec<String>)> = self
            .admin
            .xrange_all::<_, redis::Value>(KEYS[0])
            .await
            .map(redis::from_redis_value)??;
        let copies = entries.iter().filter(|(_, fields)| fields[1] == TEXT).count();
        ensure!(copies == 1, "{replies:?}: expected one entry, got {entries:?}");
        let lifetime: i64 = self.admin.pttl(KEYS[0]).await?;
        ensure!(lifetime > 0, "{replies:?}: the stream does not expire");
        Ok(())
    }

    async fn prepare(&mut self, stream: Stream) -> anyhow::Result<()> {
        cmd("FLUSHALL").exec_async(&mut self.admin).await?;
        let id = match stream {
            Stream::Missing => return Ok(()),
            Stream::OfTheWrongType => return Ok(self.admin.set(KEYS[0], "text").await?),
            Stream::OneEntry => "1-1",
            Stream::FromTheFuture => "99999999999999-1",
        };
        let _: String = self.admin.xadd(KEYS[0], id, &[("n", "{}")]).await?;
        Ok(())
    }

    async fn permit_all_but(&mut self, refused: &[&str]) -> anyhow::Result<()> {
        let mut call = cmd("ACL");
        call.arg("SETUSER").arg("worker").arg("+@all");
        for command in refused {
            call.arg(format!("-{command}"));
        }
        Ok(call.exec_async(&mut self.admin).await?)
    }

    async fn publish(&mut self) -> anyhow::Result<String> {
        let mut call = cmd("EVALSHA");
        call.arg(&self.script).arg(4).arg(&KEYS).arg(CLAIM);
        call.arg("ws:u").arg(MINUTE_MS).arg(MINUTE_MS).arg(256).arg(MINUTE_MS).arg("");
        call.arg(TEXT);
        Ok(call.query_async(&mut self.worker).await?)
    }

    /// The keys and their contents, without a claim that is marked as refused.
    async fn data(&mut self) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let mut data = BTreeMap::new();
        for key in KEYS.into_iter().chain([CLAIM]) {
            let content: Option<Vec<u8>> =
                cmd("DUMP").arg(key).query_async(&mut self.admin).await?;
            let is_refused = key == CLAIM && {
                let claim: Option<String> = self.admin.get(key).await?;
                claim.as_deref() == Some("refused")
            };
            if let Some(content) = content.filter(|_| !is_refused) {
                data.insert(key.to_owned(), content);
            }
        }
        Ok(data)
    }
}
