//! Who is let in: the rules that a request of every transport passes before its token is checked.

use std::net::IpAddr;

use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderName},
};

use super::{
    connection_limits::{ConnectionPermit, LimitExceeded},
    handshake_rate::RateExceeded,
    response::{self, Response},
    state::ServerState,
};
use crate::{
    auth::{AuthError, Identity, TokenResult},
    connection::ConnectionSettings,
    metrics::HandshakeResult,
};

/// Seconds after which a client may try again: after a second the handshake limit has refilled.
const RETRY_HANDSHAKE: &str = "1";
/// Seconds after which a client may try again: connections end in their own time.
const RETRY_CONNECTION: &str = "5";

/// Checks the origin and the rate of handshakes. Returns the address of the client.
pub(super) fn check(
    state: &ServerState,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<IpAddr, Box<Response>> {
    if !is_origin_allowed(state, headers) {
        state.count(HandshakeResult::ForbiddenOrigin);
        return Err(response::error(StatusCode::FORBIDDEN, "the origin is not allowed").into());
    }
    let client = state.settings.trusted_proxies.client(peer, headers);
    match state.handshakes.try_acquire(client) {
        Ok(()) => Ok(client),
        Err(RateExceeded::Total) => {
            state.count(HandshakeResult::RateLimited);
            let limit = state.settings.max_handshakes_per_second;
            Err(unavailable("handshakes a second", limit, RETRY_HANDSHAKE))
        }
        Err(RateExceeded::PerAddress) => {
            state.count(HandshakeResult::AddressRateLimited);
            Err(address_exceeds("rate of handshakes", RETRY_HANDSHAKE))
        }
    }
}

/// Takes one of the connections that the process and the client's address may have.
pub(super) fn acquire(
    state: &ServerState,
    client: IpAddr,
) -> Result<ConnectionPermit, Box<Response>> {
    state.limits.acquire(client).map_err(|exceeded| match exceeded {
        LimitExceeded::Total => {
            state.count(HandshakeResult::Full);
            unavailable("connections", state.settings.max_connections, RETRY_CONNECTION)
        }
        LimitExceeded::PerAddress => {
            state.count(HandshakeResult::AddressFull);
            address_exceeds("connection limit", RETRY_CONNECTION)
        }
    })
}

/// Checks the token of a request.
pub(super) async fn authenticate(
    state: &ServerState,
    token: Option<&str>,
) -> Result<Identity, AuthError> {
    let ConnectionSettings { authenticator, metrics, .. } = &*state.connection;
    let identity = authenticator.authenticate(token).await;
    metrics.jwt_validations.of(TokenResult::from(&identity)).inc();
    if identity.is_err() {
        state.count(HandshakeResult::Unauthenticated);
    }
    identity
}

fn unavailable(
    what: &str,
    limit: impl std::fmt::Display,
    retry_after: &'static str,
) -> Box<Response> {
    let message = format!("limit of {what} reached (limit: {limit})");
    let response = response::error(StatusCode::SERVICE_UNAVAILABLE, &message);
    response::with_header(response, header::RETRY_AFTER, retry_after).into()
}

fn address_exceeds(limit: &str, retry_after: &'static str) -> Box<Response> {
    let message = format!("{limit} per client address reached");
    let response = response::error(StatusCode::TOO_MANY_REQUESTS, &message);
    response::with_header(response, header::RETRY_AFTER, retry_after).into()
}

/// Whether the browser origin of a request, if it has one, may connect.
pub(super) fn is_origin_allowed(state: &ServerState, headers: &HeaderMap) -> bool {
    // Only browsers send an origin, and scripts of a page cannot forge it.
    match (&state.settings.origins, headers.get(header::ORIGIN)) {
        (Some(allowed), Some(origin)) => allowed.allow(origin.as_bytes()),
        _ => true,
    }
}

/// Whether a comma-separated header has an entry that matches.
pub(super) fn lists(
    headers: &HeaderMap,
    name: &HeaderName,
    is_wanted: impl Fn(&str) -> bool,
) -> bool {
    entries(headers, name).any(is_wanted)
}

/// Returns the entries of a comma-separated header.
pub(super) fn entries<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}
