//! The Kafka and Redis clients, which no other layer names. Drives the domain.

pub(crate) mod kafka;
pub(crate) mod redis;
