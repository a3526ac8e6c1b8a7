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
    metrics::{HandshakeResult, ReadResult},
    protocol::CloseReason,
};

/// Seconds after which a client may try again: after a second the handshake limit has refilled.
const RETRY_HANDSHAKE: &str = "1";
/// Seconds after which a client may try again: connections end in their own time.
const RETRY_CONNECTION: &str = "5";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    ForbiddenOrigin,
    Rate(RateExceeded),
    Token(AuthError),
}

/// A client that passed the rules before its token is checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its address.
    pub(super) address: IpAddr,
    /// Whether its address has taken its share of the handshakes: only a user is let in.
    exceeds_share: bool,
}

/// Checks the origin and the rate of handshakes.
pub(super) fn check(
    state: &ServerState,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<Candidate, Refusal> {
    if !is_origin_allowed(state, headers) {
        return Err(Refusal::ForbiddenOrigin);
    }
    let address = state.settings.trusted_proxies.client(peer, headers);
    let exceeds_share = match state.handshakes.try_acquire(address) {
        Ok(()) => false,
        Err(RateExceeded::PerAddress) => true,
        Err(exceeded) => return Err(Refusal::Rate(exceeded)),
    };
    Ok(Candidate { address, exceeds_share })
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
            exceeds("connection limit per client address", RETRY_CONNECTION)
        }
    })
}

/// Checks the token of a request and the share of its user in the rate of handshakes.
pub(super) async fn authenticate(
    state: &ServerState,
    Candidate { address, exceeds_share }: Candidate,
    token: Option<&str>,
) -> Result<Identity, Refusal> {
    if exceeds_share {
        return authenticate_above_share(state, token);
    }
    let ConnectionSettings { authenticator, metrics, .. } = &*state.connection;
    let identity = authenticator.authenticate(token).await;
    metrics.jwt_validations.of(TokenResult::from(&identity)).inc();
    let identity = identity.map_err(Refusal::Token)?;
    state.handshakes.assign(address, &identity.user).map_err(Refusal::Rate)?;
    Ok(identity)
}

/// Checks the token of a client whose address has taken its share of the handshakes: another client
/// there must not keep users out. For a flood of tokens no key is looked up, and those that are
/// refused count as refused handshakes only.
fn authenticate_above_share(state: &ServerState, token: Option<&str>) -> Result<Identity, Refusal> {
    let ConnectionSettings { authenticator, metrics, .. } = &*state.connection;
    let checked = authenticator.check(token);
    let result = TokenResult::from(&checked);
    let identity = checked.map_err(|_| Refusal::Rate(RateExceeded::PerAddress))?;
    metrics.jwt_validations.of(result).inc();
    state.handshakes.acquire(&identity.user).map_err(Refusal::Rate)?;
    Ok(identity)
}

impl Refusal {
    /// Returns the response, and counts a refused handshake.
    pub(super) fn of_handshake(self, state: &ServerState) -> Box<Response> {
        state.count(self.into());
        self.response(state)
    }

    pub(super) fn response(self, state: &ServerState) -> Box<Response> {
        match self {
            Self::ForbiddenOrigin => {
                response::error(StatusCode::FORBIDDEN, "the origin is not allowed").into()
            }
            Self::Rate(RateExceeded::Total) => {
                let limit = state.settings.max_handshakes_per_second;
                unavailable("handshakes a second", limit, RETRY_HANDSHAKE)
            }
            Self::Rate(RateExceeded::PerAddress) => {
                exceeds("rate of handshakes per client address", RETRY_HANDSHAKE)
            }
            Self::Rate(RateExceeded::PerUser) => {
                exceeds("rate of handshakes per user", RETRY_HANDSHAKE)
            }
            Self::Token(error) => unauthenticated(error.message()),
        }
    }
}

impl From<Refusal> for HandshakeResult {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ForbiddenOrigin => Self::ForbiddenOrigin,
            Refusal::Rate(RateExceeded::Total) => Self::RateLimited,
            Refusal::Rate(RateExceeded::PerAddress) => Self::AddressRateLimited,
            Refusal::Rate(RateExceeded::PerUser) => Self::UserRateLimited,
            Refusal::Token(_) => Self::Unauthenticated,
        }
    }
}

impl From<Refusal> for ReadResult {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ForbiddenOrigin => Self::ForbiddenOrigin,
            Refusal::Rate(_) => Self::RateLimited,
            Refusal::Token(_) => Self::Unauthenticated,
        }
    }
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

fn exceeds(limit: &str, retry_after: &'static str) -> Box<Response> {
    let response = response::error(StatusCode::TOO_MANY_REQUESTS, &format!("{limit} reached"));
    response::with_header(response, header::RETRY_AFTER, retry_after).into()
}

/// Returns the response to a request whose token is refused.
pub(super) fn unauthenticated(message: &str) -> Box<Response> {
    let reason = CloseReason::Unauthenticated;
    let response = response::refusal(StatusCode::UNAUTHORIZED, reason, message);
    response::with_header(response, header::WWW_AUTHENTICATE, "Bearer").into()
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
