//! Redis: publishes notifications and keeps the owner directory.

mod error;
mod owners;
mod publish;
mod store;

pub(crate) use store::{RedisStore, Retention};
