//! Every series that the gateway exports. Labels are enums of this crate, never a user or an id.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// From a moment to a day: how long connections and outages last.
const LASTING: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 14400.0,
    86400.0,
];

shared::metrics! {
    /// The metrics of the gateway. Cheap to clone.
    pub struct Metrics {
        /// WebSocket handshakes by outcome: accepted, unauthenticated, limit_reached,
        /// forbidden_origin, rate_limited, full, malformed, accept_failed (no file descriptor is
        /// left, most likely).
        pub connections: IntCounterVec = "websocket_connections_total", &["status"];
        /// WebSockets that are open now.
        pub active_connections: IntGauge = "websocket_active_connections", ();
        /// Users that have a WebSocket open now.
        pub connected_users: IntGauge = "websocket_connected_users", ();
        /// Texts written to sockets: notifications, and what the gateway itself says.
        pub messages_sent: IntCounter = "websocket_messages_sent_total", ();
        /// Notifications that did not reach a socket they were meant for: too_slow (its queue
        /// was full), write_failed (the client was gone), dropped_in_gap (a frame without an id
        /// while more waited for a gap to close than can be held).
        pub messages_failed: IntCounterVec = "websocket_messages_failed_total", &["error_type"];
        /// Notifications held back by the filter of a client.
        pub messages_filtered: IntCounter = "websocket_messages_filtered_total", ();
        /// Tokens checked, by result: valid, or why they were refused.
        pub jwt_validations: IntCounterVec = "jwt_validation_total", &["result"];
        /// Fetches of the issuer's key set by result: ok, failed.
        pub jwks_fetches: IntCounterVec = "gateway_jwks_fetches_total", &["result"];
        /// How long WebSockets were open, in seconds.
        pub connection_duration: Histogram = "websocket_connection_duration_seconds", LASTING;
        /// WebSockets closed, by reason; client: the client left.
        pub closes: IntCounterVec = "websocket_closes_total", &["reason"];
        /// Messages of clients by type: ping, auth, filter, ignored.
        pub client_messages: IntCounterVec = "websocket_client_messages_total", &["type"];
        /// Times that a client was not read for a while because it sent too much.
        pub client_floods: IntCounter = "websocket_client_floods_total", ();
        /// Connects by what the client could be given of the past: none (it named no position),
        /// complete, incomplete.
        pub resumes: IntCounterVec = "websocket_resumes_total", &["resume"];
        /// Whether the Redis subscription stands: 1 or 0.
        pub redis_connected: IntGauge = "gateway_redis_connected", ();
        /// Users whose channel is subscribed now.
        pub subscriptions: IntGauge = "gateway_redis_subscriptions", ();
        /// Connections to Redis that were lost.
        pub redis_outages: IntCounter = "gateway_redis_outages_total", ();
        /// Failed attempts to connect to Redis.
        pub redis_connect_failures: IntCounter = "gateway_redis_connect_failures_total", ();
        /// From losing Redis until every gap was closed, in seconds.
        pub outage_duration: Histogram = "gateway_redis_outage_seconds", LASTING;
        /// From having Redis back until every gap was closed, in seconds.
        pub repair_duration: Histogram = "gateway_gap_repair_seconds", LASTING;
        /// Gaps closed from the streams, one a user and outage: complete, incomplete (the
        /// stream no longer reached back).
        pub gaps: IntCounterVec = "gateway_gaps_total", &["result"];
        /// Notifications that were read from a stream to close a gap.
        pub messages_repaired: IntCounter = "gateway_messages_repaired_total", ();
        /// Frames received from Redis, by what became of them: delivered, duplicate, held
        /// (until a gap is closed), nobody (the user has just left).
        pub frames: IntCounterVec = "gateway_frames_total", &["outcome"];
        /// Frames from Redis that are no text, or stream entries that are no notification.
        pub malformed_frames: IntCounter = "gateway_malformed_frames_total", ();
    }
}
