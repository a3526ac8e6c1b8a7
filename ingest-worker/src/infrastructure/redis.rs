//! Redis: publishes notifications and keeps the owner directory.

mod error;
mod owners;
mod publish;
mod store;

pub use store::{RedisStore, Retention};
