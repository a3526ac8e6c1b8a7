//! Reads the watermarks from all masters, and the replies to the scripts that replace them.

use std::sync::{Arc, atomic::Ordering};

use redis::{RedisResult, Value, cmd, from_redis_value};
use tracing::{error, warn};

use super::{
    error::{self, OUT_OF_MEMORY},
    store::RedisStore,
    watermarks::{WatermarkKeys, outage, refusals},
};
use crate::{
    metrics::{RedisCall, WrongTypeKey},
    notification::publisher::{StoredWatermark, TransientError, Watermark},
};

impl RedisStore {
    /// Returns what the servers hold of `watermarks` after the commands have returned `replies`.
    pub(super) async fn replaced(
        &self,
        keys: &WatermarkKeys,
        watermarks: &[Watermark],
        replies: Vec<RedisResult<Value>>,
    ) -> Result<Vec<StoredWatermark>, TransientError> {
        if let Some(code) = outage(&replies) {
            self.metrics.redis_errors.of(error::kind_of_code(&code)).inc();
            self.drop_connection().await;
            return Err(error::transient_code(&code));
        }
        let codes = refusals(&replies);
        self.report_refusals(&codes);
        Ok(keys.read(watermarks, replies))
    }

    /// Reads the watermarks of sources from each master; those that cannot be read are empty.
    pub(super) async fn read_watermarks(
        &self,
        sources: &[Arc<str>],
    ) -> Result<Vec<StoredWatermark>, TransientError> {
        let connection = self.connect().await?;
        let keys = &connection.watermarks.keys;
        let command = |key: &Arc<str>| {
            let mut command = cmd("HMGET");
            command.arg(&**key);
            for source in sources {
                command.arg(&**source);
            }
            command
        };
        let commands = keys.iter().map(command).collect();
        let replies = self.run(&connection, RedisCall::Watermarks, commands, false).await?;
        let codes = refusals(&replies);
        if !codes.is_empty() {
            self.report_refusals(&codes);
            return Ok(vec![StoredWatermark::new(); sources.len()]);
        }
        let mut all = vec![StoredWatermark::new(); sources.len()];
        for (key, reply) in keys.iter().zip(replies) {
            let values =
                reply.and_then(|reply| Ok(from_redis_value::<Vec<Option<String>>>(reply)?));
            let values = values.unwrap_or_else(|_| {
                // A key of another type holds no watermark; the next write replaces it.
                self.metrics.wrong_type_keys.of(WrongTypeKey::Watermark).inc();
                vec![None; sources.len()]
            });
            for (stored, value) in all.iter_mut().zip(values) {
                stored.insert(Arc::clone(key), value);
            }
        }
        Ok(all)
    }

    /// Returns the time, in milliseconds, of the server whose clock is the latest; the greatest
    /// number if one refuses the command.
    pub(super) async fn read_time(&self) -> Result<i64, TransientError> {
        let connection = self.connect().await?;
        match connection.commands.run_on_all_nodes(&cmd("TIME")).await {
            Ok(times) => Ok(times.into_iter().filter_map(read_millis).max().unwrap_or(i64::MAX)),
            Err(error) if error::is_outage(&error) => Err(self.disconnect(&error).await),
            Err(_) => Ok(i64::MAX),
        }
    }

    /// Counts the codes with which servers refused watermarks, and logs the first of them until
    /// they are replaced again: a server without memory still lets them be read.
    fn report_refusals(&self, codes: &[String]) {
        for code in codes {
            self.metrics.redis_errors.of(error::kind_of_code(code)).inc();
        }
        let was_refused = self.watermarks_refused.swap(!codes.is_empty(), Ordering::Relaxed);
        match codes.first().filter(|_| !was_refused) {
            Some(code) if code == OUT_OF_MEMORY => {
                warn!(code, "Redis has no memory for the watermarks at ws:watermark:*, retrying");
            }
            Some(code) => error!(
                code,
                "Redis refuses the watermarks at ws:watermark:*, what it loses is not restored: \
                 check the permissions of the worker's Redis user"
            ),
            None => {}
        }
    }
}

/// Reads the reply to `TIME`: seconds and microseconds.
fn read_millis(reply: Value) -> Option<i64> {
    let (seconds, micros) = from_redis_value::<(i64, i64)>(reply).ok()?;
    Some(seconds * 1000 + micros / 1000)
}
