//! Redis: publishes notifications and keeps the owner directory.

pub mod store;
