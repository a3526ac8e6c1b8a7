//! Lets scripts of other origins read responses (CORS), as far as `CORS_ORIGINS` allows their
//! origin to connect.

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use super::{
    admission,
    response::{self, Response},
    state::ServerState,
};

/// How long a browser may keep the answer to a preflight; browsers keep it no longer than two
/// hours.
const MAX_AGE: &str = "7200";

/// Returns the response to a request with another method than the path serves: the answer to a
/// preflight, or a refusal with this message and these allowed methods.
pub(super) fn respond(
    state: &ServerState,
    request: &Request<()>,
    message: &str,
    allowed: &'static str,
) -> Response {
    if *request.method() == Method::OPTIONS {
        return preflight(state, request.headers());
    }
    let response = response::error(StatusCode::METHOD_NOT_ALLOWED, message);
    response::with_header(response, header::ALLOW, allowed)
}

/// Returns the answer to a preflight: what a request may be.
fn preflight(state: &ServerState, headers: &HeaderMap) -> Response {
    if !admission::is_origin_allowed(state, headers) {
        return response::error(StatusCode::FORBIDDEN, "the origin is not allowed");
    }
    let mut response = Response::new(response::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, last-event-id"),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ] {
        response = response::with_header(response, name, value);
    }
    response
}

/// Adds the headers with which a browser hands the response to a script of an allowed origin, also
/// a refusal.
pub(super) fn allow(state: &ServerState, headers: &HeaderMap, mut response: Response) -> Response {
    let mut add = |name: HeaderName, value| response.headers_mut().insert(name, value);
    add(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = headers.get(header::ORIGIN)
        && admission::is_origin_allowed(state, headers)
    {
        add(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        add(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    }
    response
}
