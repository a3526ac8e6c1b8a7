//! Loads the stored revocations, before a session serves any user and again later.

use std::sync::Arc;

use redis::RedisResult;

use super::{
    super::{backend::Backend, revocations::KnownRevocations},
    Session, disconnected,
};

impl<B: Backend> Session<B> {
    /// Loads the revocations. If Redis does not return them, those of an earlier load stay in use.
    pub(super) async fn load_revocations(&mut self) -> RedisResult<KnownRevocations> {
        let known = self.backend.load_revocations().await?;
        self.load_schedule.record(known);
        Ok(known)
    }

    /// Loads the revocations, and waits until any are known.
    pub(super) async fn wait_for_revocations(&mut self) -> RedisResult<()> {
        let lost = Arc::clone(&self.lost);
        while self.load_revocations().await? == KnownRevocations::None {
            tokio::select! {
                () = lost.notified() => return Err(disconnected()),
                () = self.load_schedule.due() => {}
            }
            self.check().await?;
        }
        Ok(())
    }
}
