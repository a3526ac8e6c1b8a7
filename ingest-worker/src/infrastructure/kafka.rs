//! Kafka: the consumer, the loop that moves its records through the domain, dead letters, and
//! checks of the clients' health.

mod backward_commits;
pub(crate) mod batch;
pub(crate) mod check;
pub(crate) mod client_config;
mod client_context;
mod commits;
pub(crate) mod consume_loop;
pub(crate) mod consumer;
pub(crate) mod dead_letters;
mod headers;
pub(crate) mod health;
mod in_flight;
mod librdkafka_workaround;
mod membership;
mod offset_reset;
mod offsets;
mod outage;
mod parked;
pub(crate) mod property_check;
mod record;
mod retry;
mod rewind;
mod rewind_to;
pub(crate) mod search;
pub(crate) mod skip;
mod source;
mod start;
mod statistics;
mod topic_config;
mod topic_log;
mod topic_reader;
mod tracing;

// Public through `worker::pipeline`.
pub use consume_loop::ConsumeLoop;
pub use dead_letters::queue::{DeadLetter, DeadLetterSink};
pub use offsets::{Admitted, InFlightId, Offsets, Partition};
pub use record::{InFlightRecord, OwnedRecord, SourceRecord};
pub use source::{MAX_BATCH, RecordSource, RewindTo};
