//! The metrics of the gateway. Labels are enums, never a user or an id.

mod labels;

use std::time::SystemTime;

use prometheus::{Histogram, IntCounter, IntGauge};
use shared::metrics::{LATENCY_BUCKETS, Labeled, ROUND_TRIP_BUCKETS};

use crate::{
    auth::TokenResult,
    files::Reloads,
    protocol::{Disconnect, Position, Resume},
};

pub(crate) use labels::{
    Batching, ClientMessageType, ClientTransport, Delivery, Failure, GapRepair, HandshakeResult,
    Phase, ProbeResult, ReadResult, RedisUserError,
};

/// Buckets for the duration of connections and outages, in seconds, up to a day.
const DURATION_BUCKETS: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0,
    86400.0,
];

/// Buckets for the length of an outbox, up to the default of `OUTBOX_CAPACITY`.
const OUTBOX_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

shared::metrics! {
    /// The metrics of the gateway. Cheap to clone.
    pub struct Metrics {
        /// Handshakes of every transport by outcome: accepted, unauthenticated, limit_reached,
        /// forbidden_origin, rate_limited, address_rate_limited, user_rate_limited, full,
        /// address_full, malformed, head_too_large, query_too_long, tls_failed,
        /// accept_failed (no file descriptor is left, most likely), evicted (it took long to
        /// send its request, and a new connection needed its slot).
        pub(crate) connections: Labeled<HandshakeResult, IntCounter> = "websocket_connections_total", ();
        /// Requests for the read state by outcome: answered, unauthenticated, forbidden_origin,
        /// rate_limited (by user, address or in total), malformed, unavailable (Redis did not reply
        /// in time).
        pub(crate) read_requests: Labeled<ReadResult, IntCounter> = "gateway_read_requests_total", ();
        /// Connections of every transport that are open now.
        pub(crate) active_connections: IntGauge = "websocket_active_connections", ();
        /// Mean number of connections of all gateways, as they publish it; 0 without REBALANCE_RATE.
        pub(crate) mean_connections: IntGauge = "gateway_mean_connections", ();
        /// Connections that are open now, by transport: websocket, event_stream, long_poll.
        pub(crate) connections_by_transport: Labeled<ClientTransport, IntGauge> = "gateway_transport_connections", ();
        /// Connections that were opened, by transport; each long poll is one.
        pub(crate) opened_by_transport: Labeled<ClientTransport, IntCounter> = "gateway_transport_connections_opened_total", ();
        /// Connections by state: opening (waits for its subscription or history), open, closing.
        pub(crate) phases: Labeled<Phase, IntGauge> = "websocket_connections", ();
        /// Users that have a connection open now.
        pub(crate) connected_users: IntGauge = "websocket_connected_users", ();
        /// Texts written to sockets: notifications, and frames about the connection.
        pub(crate) messages_sent: IntCounter = "websocket_messages_sent_total", ();
        /// Notifications that did not reach a socket they were meant for: too_slow (its queue
        /// was full), write_failed (the client was gone), dropped_in_gap (a frame without an id
        /// while more waited for a gap to close than can be held).
        pub(crate) messages_failed: Labeled<Failure, IntCounter> = "websocket_messages_failed_total", ();
        /// Notifications held back by the filter of a client.
        pub(crate) messages_filtered: IntCounter = "websocket_messages_filtered_total", ();
        /// Tokens checked, by result: valid, or why they were refused.
        pub(crate) jwt_validations: Labeled<TokenResult, IntCounter> = "jwt_validation_total", ();
        /// Fetches of the issuer's key set by result: ok, failed.
        pub(crate) jwks_fetches: Reloads = "gateway_jwks_fetches_total", ();
        /// Key and certificate files that had changed while the gateway ran, by result: ok, failed
        /// (the previous content stays in use).
        pub(crate) file_reloads: Reloads = "gateway_file_reloads_total", ();
        /// When the certificate for clients ends, in seconds since 1970; 0 without TLS.
        pub(crate) certificate_end: IntGauge = "gateway_certificate_end_timestamp_seconds", ();
        /// Unexpired revocations of users and tokens.
        pub(crate) revocations: IntGauge = "gateway_revocations", ();
        /// How long connections were open, in seconds.
        pub(crate) connection_duration: Histogram = "websocket_connection_duration_seconds", DURATION_BUCKETS;
        /// Connections closed, by reason; client: the client left, answered: the end of a long
        /// poll.
        pub(crate) closes: Labeled<Disconnect, IntCounter> = "websocket_closes_total", ();
        /// Messages of clients by type: ping, auth, filter, read, ignored.
        pub(crate) client_messages: Labeled<ClientMessageType, IntCounter> = "websocket_client_messages_total", ();
        /// Times that reading from a client was paused because it exceeded a rate limit.
        pub(crate) client_rate_limited: IntCounter = "websocket_client_rate_limited_total", ();
        /// Resumes by result: none (it named no position),
        /// complete, incomplete.
        pub(crate) resumes: Labeled<Resume, IntCounter> = "websocket_resumes_total", ();
        /// Seconds from the time that Redis gave a notification its id until it was written to a
        /// socket, by batching: none, allowed (low priority: up to LOW_PRIORITY_MAX_DELAY).
        pub(crate) delivery: Labeled<Batching, Histogram> = "gateway_delivery_seconds", LATENCY_BUCKETS;
        /// Seconds from the time that Redis gave a notification its id until the gateway received
        /// it.
        pub(crate) pubsub: Histogram = "gateway_pubsub_seconds", LATENCY_BUCKETS;
        /// Seconds from the time that the queue of a socket was due until it was written; one
        /// observation a write.
        pub(crate) queued: Histogram = "gateway_queue_seconds", LATENCY_BUCKETS;
        /// Texts that a socket's queue held when it was written.
        pub(crate) queue_depth: Histogram = "gateway_outbox_frames", OUTBOX_BUCKETS;
        /// Whether there is a session with Redis: 1 or 0.
        pub(crate) redis_connected: IntGauge = "gateway_redis_connected", ();
        /// Users whose channel is subscribed now.
        pub(crate) subscriptions: IntGauge = "gateway_redis_subscriptions", ();
        /// Connections to Redis that were lost.
        pub(crate) redis_outages: IntCounter = "gateway_redis_outages_total", ();
        /// Failed attempts to connect to Redis.
        pub(crate) redis_connect_failures: IntCounter = "gateway_redis_connect_failures_total", ();
        /// Round trip of the check that Redis answers every second, in seconds.
        pub(crate) redis_round_trip: Histogram = "gateway_redis_round_trip_seconds", ROUND_TRIP_BUCKETS;
        /// Probes published to Redis, by result: returned, lost (the subscription is silent; after
        /// two in a row the gateway reconnects), failed (not published).
        pub(crate) probes: Labeled<ProbeResult, IntCounter> = "gateway_redis_probes_total", ();
        /// From the loss of a session with Redis until every gap was closed, in seconds.
        pub(crate) outage_duration: Histogram = "gateway_redis_outage_seconds", DURATION_BUCKETS;
        /// From the start of a session with Redis until every gap was closed, in seconds.
        pub(crate) repair_duration: Histogram = "gateway_gap_repair_seconds", DURATION_BUCKETS;
        /// Gaps closed from the streams, one a user and outage: complete, incomplete (the
        /// stream no longer reached back).
        pub(crate) gaps: Labeled<GapRepair, IntCounter> = "gateway_gaps_total", ();
        /// Notifications that were read from a stream to close a gap.
        pub(crate) messages_repaired: IntCounter = "gateway_messages_repaired_total", ();
        /// Frames received from Redis, by outcome: delivered, duplicate, held
        /// (until a gap is closed), not_connected (the user has just left).
        pub(crate) frames: Labeled<Delivery, IntCounter> = "gateway_frames_total", ();
        /// Replies from Redis about one user that could not be used, by kind: wrong_type,
        /// cross_slot, slot_moving, out_of_memory, read_only, too_few_replicas,
        /// persistence_failed, no_permission, unreadable, other. Without its position, a user is
        /// served live frames and cannot resume.
        pub(crate) redis_user_errors: Labeled<RedisUserError, IntCounter> = "gateway_redis_user_errors_total", ();
        /// Values from Redis that were skipped: frames and entries that are not readable or have
        /// an implausible position, and unreadable revocations.
        pub(crate) malformed_frames: IntCounter = "gateway_malformed_frames_total", ();
    }
}

impl Metrics {
    /// Returns the number of connections that are open.
    pub(crate) fn open_connections(&self) -> u64 {
        u64::try_from(self.active_connections.get()).unwrap_or_default()
    }

    /// Observes the latency of a notification that was written to a socket at `now`.
    pub(crate) fn observe_delivery(&self, position: Position, low_priority: bool, now: SystemTime) {
        let batching = if low_priority { Batching::Allowed } else { Batching::None };
        self.delivery.of(batching).observe(position.age(now));
    }
}
