//! The decisions: what a record is, who is told, what becomes of it. Knows neither Kafka nor
//! Redis; the outside world comes in as [`record::Record`]s and behind two traits.

pub mod announced;
pub mod identity;
pub mod processor;
pub mod recipients;
pub mod record;
pub mod routes;
pub mod source;
