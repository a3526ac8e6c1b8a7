//! Fans the notifications of each user out to that user's WebSockets.
//!
//! A connection passes [`server`] (accept, upgrade), [`auth`] (who is it), [`hub`] (who is
//! connected), [`history`] (what was missed) and lives in [`connection`]. A notification passes
//! [`subscriber`], [`hub`] and [`outbox`] to the same place. [`gateway`] wires them.

pub mod auth;
pub mod cli;
pub mod config;
pub mod connection;
pub mod files;
pub mod frame;
pub mod gateway;
pub mod history;
pub mod hub;
pub mod metrics;
pub mod outbox;
pub mod position;
pub mod protocol;
pub mod revocation;
pub mod server;
pub mod subscriber;
pub mod tls;
