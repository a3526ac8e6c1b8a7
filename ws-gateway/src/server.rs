//! The public port: accepts TCP connections, answers health checks, handshakes and requests for
//! events, and hands each connection to a task of its own. Every step has a time limit and a bound
//! on memory.

mod accept;
mod accept_header;
mod activity;
mod admission;
mod client_address;
mod connection_limits;
mod cors;
mod events;
mod handshake;
mod handshake_rate;
mod health_endpoints;
mod open;
mod pending;
mod query;
mod read;
mod read_observer;
mod repeated;
mod response;
mod settings;
mod state;
mod tls;
mod upgrade;

pub(crate) use accept::Server;
pub(crate) use client_address::TrustedProxies;
pub(crate) use settings::ServerSettings;
pub(crate) use tls::TlsFiles;
