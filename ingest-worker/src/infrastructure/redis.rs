//! Redis: publishes notifications and keeps the owner directory.

pub(crate) mod check;
mod error;
pub(crate) mod lookup;
mod owners;
mod publish;
mod store;
mod watermark_store;
mod watermarks;

pub(crate) use store::{RedisStore, Retention};
