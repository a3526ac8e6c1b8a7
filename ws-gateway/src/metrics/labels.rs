//! The labels of the metrics.

shared::label! {
    /// The result of a handshake: an upgrade to a WebSocket, or a request for events.
    pub(crate) enum HandshakeResult as "status" {
        /// The connection is open.
        Accepted = "accepted",
        /// The token was refused.
        Unauthenticated = "unauthenticated",
        /// The user has as many connections as are allowed.
        LimitReached = "limit_reached",
        /// The `Origin` is not on the allow-list.
        ForbiddenOrigin = "forbidden_origin",
        /// More handshakes a second than are allowed.
        RateLimited = "rate_limited",
        /// The address or its network has taken its share of the handshakes a second.
        AddressRateLimited = "address_rate_limited",
        /// The user has taken its share of the handshakes a second.
        UserRateLimited = "user_rate_limited",
        /// The process has as many connections as are allowed.
        Full = "full",
        /// The address has as many connections as are allowed.
        AddressFull = "address_full",
        /// Not a handshake.
        Malformed = "malformed",
        /// The head of the request is larger than allowed.
        HeadTooLarge = "head_too_large",
        /// The query of the request is longer than allowed.
        QueryTooLong = "query_too_long",
        /// The TLS handshake failed.
        TlsFailed = "tls_failed",
        /// `accept` failed, most likely because no file descriptor was free.
        AcceptFailed = "accept_failed",
        /// The oldest pending connection was dropped to make room for a new one.
        Evicted = "evicted",
    }
}

shared::label! {
    /// The type of a client's message.
    pub(crate) enum ClientMessageType as "type" {
        /// `{"type":"ping"}`.
        Ping = "ping",
        /// `{"type":"auth"}`.
        Auth = "auth",
        /// `{"type":"filter"}`.
        Filter = "filter",
        /// `{"type":"read"}`.
        Read = "read",
        /// Any other text.
        Ignored = "ignored",
    }
}

shared::label! {
    /// The result of a request for the read state.
    pub(crate) enum ReadResult as "status" {
        /// It was answered with the read state.
        Answered = "answered",
        /// The token was refused.
        Unauthenticated = "unauthenticated",
        /// The `Origin` is not on the allow-list.
        ForbiddenOrigin = "forbidden_origin",
        /// It exceeds the share of its user or address, or the limit of handshakes a second.
        RateLimited = "rate_limited",
        /// `up_to` is not a position.
        Malformed = "malformed",
        /// Redis did not reply in time.
        Unavailable = "unavailable",
    }
}

shared::label! {
    /// The result of delivering a frame from Redis.
    pub(crate) enum Delivery as "outcome" {
        /// Queued for every connection of the user.
        Delivered = "delivered",
        /// It was delivered before.
        Duplicate = "duplicate",
        /// It is held until the gap before it is closed.
        Held = "held",
        /// The user is not connected.
        NotConnected = "not_connected",
    }
}

shared::label! {
    /// Why a notification did not reach a socket.
    pub(crate) enum Failure as "error_type" {
        /// Its queue was full.
        TooSlow = "too_slow",
        /// The client was gone.
        WriteFailed = "write_failed",
        /// A frame without an id came while more waited for a gap to close than can be held.
        DroppedInGap = "dropped_in_gap",
    }
}

shared::label! {
    /// Why a reply from Redis about one user could not be used.
    pub(crate) enum RedisUserError as "kind" {
        /// A key holds another type.
        WrongType = "wrong_type",
        /// The user's keys are in different slots of Redis Cluster.
        CrossSlot = "cross_slot",
        /// The slot of the user's keys is being moved or has just moved, or no server of the cluster
        /// serves it.
        SlotMoving = "slot_moving",
        /// Redis is out of memory and does not evict.
        OutOfMemory = "out_of_memory",
        /// The server is a read-only replica.
        ReadOnly = "read_only",
        /// Fewer replicas than `min-replicas-to-write`.
        TooFewReplicas = "too_few_replicas",
        /// Redis refuses writes because it cannot persist them.
        PersistenceFailed = "persistence_failed",
        /// The gateway's user in Redis may not use the command, the key or the channel.
        NoPermission = "no_permission",
        /// The value is not what was expected.
        Unreadable = "unreadable",
        /// Any other error.
        Other = "other",
    }
}

shared::label! {
    /// The result of a probe through the pub/sub channel.
    pub(crate) enum ProbeResult as "result" {
        /// It was received.
        Returned = "returned",
        /// It was published and not received in time.
        Lost = "lost",
        /// It could not be published.
        Failed = "failed",
    }
}

shared::label! {
    /// Whether a gap could be closed.
    pub(crate) enum GapRepair as "result" {
        /// Nothing is missing.
        Complete = "complete",
        /// The stream no longer reached back.
        Incomplete = "incomplete",
    }
}

shared::label! {
    /// Whether a notification may wait to share a write with others.
    pub(crate) enum Batching as "batching" {
        /// It is written at once.
        None = "none",
        /// It has low priority and may wait.
        Allowed = "allowed",
    }
}

shared::label! {
    /// What carries the frames of a connection.
    pub(crate) enum ClientTransport as "transport" {
        /// A WebSocket.
        WebSocket = "websocket",
        /// A stream of Server-Sent Events.
        EventStream = "event_stream",
        /// The response to one request.
        LongPoll = "long_poll",
    }
}

shared::label! {
    /// The phase of a connection.
    pub(crate) enum Phase as "state" {
        /// It waits for its subscription, or is sent its history.
        Opening = "opening",
        /// It is sent live frames.
        Open = "open",
        /// The closing handshake runs.
        Closing = "closing",
    }
}
