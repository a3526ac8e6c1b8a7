//! The mechanics of Kafka and Redis, and the only place that names them. Drives the domain.

pub(crate) mod kafka;
pub(crate) mod redis;
