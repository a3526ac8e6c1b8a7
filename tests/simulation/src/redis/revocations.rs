//! The operator who revokes tokens, as `ws-gateway revoke` does: stored first, published second.

use tokio::time::Instant;

use super::{server::Server, store::Value};
use crate::simulation::{START_MS, trace};

const KEY: &str = "ws:revoked";
const CHANNEL: &str = "ws/revoked";

/// When the revocations expire, in Unix seconds: after every simulation.
const UNTIL: u64 = START_MS / 1000 + 1_000_000;

impl Server {
    /// Revokes a token, if Redis is available and accepts it.
    pub(crate) fn revoke(&self, token_id: &str) {
        let is_away = {
            let faults = &self.state().faults;
            let times = [faults.down_until, faults.loading_until];
            times.into_iter().flatten().any(|until| until > Instant::now())
        };
        if is_away {
            return;
        }
        trace!(self.sim, "{token_id} is revoked");
        self.sim.oracle.revoked(token_id);
        let (text, until) = (revocation(token_id), UNTIL.to_string());
        self.administer(&[["ZADD", KEY, &until, &text], ["PUBLISH", CHANNEL, &text, ""]]);
    }

    /// Whether Redis has the revocation of a token.
    pub(crate) fn is_revoked(&self, token_id: &str) -> bool {
        let mut state = self.state();
        let value = state.master().store.value(KEY);
        matches!(value, Some(Value::Sorted(all)) if all.contains_key(&revocation(token_id)))
    }
}

fn revocation(token_id: &str) -> String {
    format!(r#"{{"jti":"{token_id}","until":{UNTIL}}}"#)
}
