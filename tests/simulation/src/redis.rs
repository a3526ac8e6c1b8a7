//! A simulated Redis: real clients connect to it over simulated streams and speak RESP3.

pub mod commands;
mod connection;
mod current_faults;
pub mod database;
mod dial;
pub(crate) mod faults;
mod output;
mod read_state;
pub mod reply;
mod revocations;
mod scripts;
pub(crate) mod server;
pub mod store;
