//! A simulated Kafka: logs, one consumer group, and its members as the worker's loop sees them.

mod cluster;
mod dead_letters;
mod group;
mod source;

pub(crate) use cluster::Cluster;
pub(crate) use dead_letters::DeadLetterTopic;
pub(crate) use group::Assignment;
pub(crate) use source::Source;
