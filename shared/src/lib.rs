//! What `ingest-worker` and `ws-gateway` must agree on.
//!
//! The contract: [`envelope`] and [`events`] (what producers send), [`notification`] (what a
//! browser receives), [`user`] (whom it is for) and [`keys`] (the names both use in Redis).
//! The runtime: [`config`], [`telemetry`], [`mod@metrics`], [`trace`], [`lifecycle`], [`admin`],
//! [`healthcheck`], [`backoff`] and [`redis`].
//! No business rules live here.

pub mod admin;
pub mod backoff;
pub mod config;
pub mod envelope;
pub mod events;
pub mod healthcheck;
pub mod keys;
pub mod lifecycle;
pub mod metrics;
pub mod notification;
pub mod redis;
pub mod telemetry;
pub mod time;
pub mod trace;
pub mod user;
