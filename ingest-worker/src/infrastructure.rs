//! The mechanics of Kafka and Redis, and the only place that names them. Drives the domain.

pub mod brokers;
pub mod dead_letters;
pub mod kafka;
pub mod lag;
mod librdkafka;
pub mod lost;
mod message;
pub mod offsets;
pub mod pump;
pub mod redis;
pub mod retry;
mod spans;
pub mod stage;
mod stalled;
mod under_way;
mod waiting;
