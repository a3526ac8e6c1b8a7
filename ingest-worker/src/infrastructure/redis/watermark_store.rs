//! Reads the watermarks from all masters, and the replies to the scripts that replace them.

use std::sync::Arc;

use redis::{RedisResult, Value, cmd, from_redis_value};

use super::{
    error,
    store::RedisStore,
    watermarks::{WatermarkKeys, outage},
};
use crate::{
    metrics::RedisCall,
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
        Ok(keys.read(watermarks, replies))
    }

    /// Reads the watermarks of sources from each master.
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
        let mut all = vec![StoredWatermark::new(); sources.len()];
        for (key, reply) in keys.iter().zip(replies) {
            // A key of another type holds no watermark; the next write replaces it.
            let values =
                reply.and_then(|reply| Ok(from_redis_value::<Vec<Option<String>>>(reply)?));
            let values = values.unwrap_or_else(|_| vec![None; sources.len()]);
            for (stored, value) in all.iter_mut().zip(values) {
                stored.insert(Arc::clone(key), value);
            }
        }
        Ok(all)
    }
}
