//! Fans the notifications of each user out to that user's WebSockets.
//!
//! A connection is accepted and upgraded by [`server`], authenticated by [`auth`], registered in
//! the [`hub`], sent its history by [`redis::History`] and run by [`connection`]. A notification
//! goes from [`redis::Subscriber`] through the [`hub`] and the connection's [`hub::outbox`] to the
//! socket. [`gateway`] wires the parts.

pub mod auth;
pub mod cli;
pub mod config;
pub mod connection;
#[cfg(test)]
mod exhaustive;
mod files;
pub mod gateway;
pub mod hub;
pub mod metrics;
pub mod protocol;
mod redis;
mod server;
