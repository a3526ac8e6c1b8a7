//! Kafka: the consumer, the loop that moves its records through the domain, dead letters, and
//! checks of the clients' health.

pub mod batch;
pub mod consume_loop;
pub mod consumer;
pub mod dead_letters;
pub mod health;
mod in_flight;
mod librdkafka_workaround;
pub mod offsets;
mod parked;
mod record;
pub mod retry;
mod tracing;
