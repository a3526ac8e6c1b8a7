//! A simulated Kafka: logs, one consumer group, and its members as the worker's loop sees them.

mod cluster;
mod group;
mod letters;
mod source;

pub(crate) use cluster::Cluster;
pub(crate) use group::Assignment;
pub(crate) use letters::Letters;
pub(crate) use source::Source;
