//! Fans the notifications of each user out to that user's WebSockets.
//!
//! A connection passes `server` (accept, upgrade), [`auth`] (who is it), [`hub`] (who is
//! connected), [`redis::History`] (what was missed) and lives in [`connection`]. A notification
//! passes [`redis::Subscriber`], [`hub`] and [`hub::outbox`] to the same place. [`gateway`] wires
//! them.

pub mod auth;
pub mod cli;
pub mod config;
pub mod connection;
pub mod files;
pub mod gateway;
pub mod hub;
pub mod metrics;
pub mod protocol;
pub mod redis;
mod server;
