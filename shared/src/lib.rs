//! What `ingest-worker` and `ws-gateway` have in common: the contract between producers, Redis and
//! browsers, and the runtime that both services are built on. No business rules.
//!
//! # The contract, in the order of an event's path
//!
//! 1. A Kafka record holds an [`envelope`] around one of the [`events`].
//! 2. The worker turns the event into a [`notification`] for a [`user`]; a [`time`] in it is UTC.
//! 3. The worker publishes it under the names of [`keys`], through [`redis`].
//! 4. The gateway passes the JSON on to the user's sockets, unparsed.
//!
//! # The runtime
//!
//! | module | responsibility |
//! |---|---|
//! | [`config`] | reads settings, reports all problems at once, keeps secrets out of logs |
//! | [`lifecycle`] | graceful shutdown and the exit code |
//! | [`admin`], [`healthcheck`] | liveness, readiness, metrics and log level over HTTP, and the image's health check |
//! | [`build_info`], [`findings`] | version and commit, and what the command `check` reports |
//! | [`telemetry`], [`audit`], [`trace`] | structured logs, operators' acts, and OpenTelemetry spans |
//! | [`mod@metrics`] | Prometheus metrics with typed labels |
//! | [`backoff`], [`due_queue`] | exponential back-off with jitter, and what waits for it |
//! | [`redis`] | connections to standalone, Sentinel and Cluster deployments |

pub mod admin;
pub mod audit;
pub mod backoff;
pub mod build_info;
pub mod config;
pub mod due_queue;
pub mod envelope;
pub mod events;
pub mod findings;
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
