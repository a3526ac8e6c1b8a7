//! The faults that a server has now.

use tokio::time::Instant;

use super::database::Write;

/// The current faults of the server.
#[derive(Default)]
pub(super) struct Faults {
    /// No connection is accepted before this time.
    pub(super) down_until: Option<Instant>,
    /// Every command is refused with `LOADING` before this time.
    pub(super) loading_until: Option<Instant>,
    /// Which writes are refused, how many percent of them, with which error, and until when.
    pub(super) refusal: Option<(Write, u32, &'static str, Instant)>,
    /// Connections that are cut after their next writes, before the reply; whether it is torn.
    pub(super) lost_replies: Vec<bool>,
    /// The same for reads.
    pub(super) lost_reads: Vec<bool>,
    /// The number of scripts until every key is deleted.
    pub(super) scripts_until_flush: Option<usize>,
}
