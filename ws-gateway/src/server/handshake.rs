//! Answers a request: health checks, events over plain HTTP, and on `/ws` the upgrade to a
//! WebSocket or the error that names the rule it breaks.

use std::{net::IpAddr, sync::Arc};

use hyper::{
    HeaderMap, Method, Request, StatusCode, Version,
    header::{self, HeaderValue},
    http::uri::Authority,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    activity::Activity,
    admission::{self, Candidate, Refusal, lists},
    events,
    health_endpoints::Health,
    query::Query,
    read, repeated,
    response::{self, Response},
    state::ServerState,
    upgrade::{self, Handshake},
};
use crate::{
    auth,
    connection::{ClientOptions, Transport},
    metrics::HandshakeResult,
    protocol::SUBPROTOCOL,
};

/// Returns the response to a request. `S` is the stream that the request came over.
pub(super) async fn respond<S>(
    state: &Arc<ServerState>,
    request: Request<()>,
    peer: IpAddr,
    activity: &Activity,
) -> Response
where
    S: Transport,
{
    if let Some(rule) = broken_http_rule(&request).or_else(|| repeated::broken_rule(&request)) {
        state.count(HandshakeResult::Malformed);
        return close_after(response::error(StatusCode::BAD_REQUEST, rule));
    }
    let max_query = state.settings.max_query_length.get();
    if request.uri().query().is_some_and(|query| query.len() > max_query) {
        state.count(HandshakeResult::QueryTooLong);
        let message = format!("the query is longer than {max_query} bytes");
        return close_after(response::error(StatusCode::URI_TOO_LONG, &message));
    }
    match request.uri().path() {
        "/ws" | "/ws/" => match upgrade::<S>(state, request, peer).await {
            Ok(response) => *response,
            Err(refused) => close_after(*refused),
        },
        "/events" => {
            // Boxed: its state would enlarge every pending connection.
            close_if_refused(Box::pin(events::respond(state, &request, peer, activity)).await)
        }
        "/read" => close_if_refused(Box::pin(read::respond(state, &request, peer, activity)).await),
        path => {
            let health = Health {
                redis_connected: state.history.is_available(),
                active_connections: state.connection.metrics.active_connections.get(),
            };
            state.health.respond(request.method(), path, health)
        }
    }
}

fn close_if_refused(response: Response) -> Response {
    if response.status().is_success() { response } else { close_after(response) }
}

/// Closes the connection after this response: each request that is refused then takes a TCP
/// connection, and pipelined ones cannot use up the rate of handshakes.
fn close_after(mut response: Response) -> Response {
    response.headers_mut().append(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Returns the rule of RFC 9112 or RFC 6455 that a request breaks. hyper leaves these to its users.
/// A proxy may read such a request differently, so none is answered.
fn broken_http_rule(request: &Request<()>) -> Option<&'static str> {
    let headers = request.headers();
    let is_http_10 = request.version() < Version::HTTP_11;
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
    if !is_http_10 && headers.get_all(header::HOST).iter().count() != 1 {
        Some("a request has one Host header")
    } else if headers.get(header::HOST).is_some_and(|host| !is_host(host)) {
        Some("the Host header is a host and an optional port")
    } else if !is_upgrade(headers) {
        None
    } else if is_http_10 {
        Some("an upgrade needs HTTP/1.1")
    } else if has_body {
        Some("an upgrade has no body")
    } else {
        None
    }
}

fn is_host(value: &HeaderValue) -> bool {
    Authority::try_from(value.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
}

/// Checks a handshake, the cheapest rules first. A refused token still completes the handshake:
/// a browser sees only the close code of a WebSocket, not the status of a response.
async fn upgrade<S>(
    state: &Arc<ServerState>,
    request: Request<()>,
    peer: IpAddr,
) -> Result<Box<Response>, Box<Response>>
where
    S: Transport,
{
    let headers = request.headers();
    if request.method() != Method::GET {
        let response = response::error(StatusCode::METHOD_NOT_ALLOWED, "use GET");
        return Err(response::with_header(response, header::ALLOW, "GET").into());
    }
    let refused = |refusal: Refusal| refusal.of_handshake(state);
    let candidate = admission::check(state, peer, headers).map_err(refused)?;
    if !is_upgrade(headers) {
        return Err(refuse_plain_request(state, &request, candidate).await);
    }
    let accept = accept_key(headers).inspect_err(|_| state.count(HandshakeResult::Malformed))?;
    let permit = admission::acquire(state, candidate.address)?;
    let handshake = read_handshake(state, &request, candidate).await?;
    let mut response = switching_protocols(accept);
    if handshake.options.control_frames {
        response = response::with_header(response, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    }
    let upgraded = hyper::upgrade::on(request);
    let connection = upgrade::run::<S>(Arc::clone(state), upgraded, handshake, permit);
    state.tasks.spawn(connection);
    Ok(response.into())
}

async fn refuse_plain_request(
    state: &ServerState,
    request: &Request<()>,
    candidate: Candidate,
) -> Box<Response> {
    match read_handshake(state, request, candidate).await {
        Err(refused) => return refused,
        Ok(Handshake { identity: Err(error), .. }) => {
            let response = response::error(StatusCode::UNAUTHORIZED, error.message());
            return response::with_header(response, header::WWW_AUTHENTICATE, "Bearer").into();
        }
        Ok(_) => {}
    }
    state.count(HandshakeResult::Malformed);
    let response = response::error(StatusCode::UPGRADE_REQUIRED, "upgrade to a WebSocket");
    let response = response::with_header(response, header::UPGRADE, "websocket");
    response::with_header(response, header::CONNECTION, "Upgrade").into()
}

/// Reads what a handshake asks for. A refused token is a part of that, as it is reported after the
/// handshake.
async fn read_handshake(
    state: &ServerState,
    request: &Request<()>,
    candidate: Candidate,
) -> Result<Handshake, Box<Response>> {
    let query = request.uri().query().unwrap_or_default();
    let token = auth::token(request.headers(), query);
    let identity = match admission::authenticate(state, candidate, token.as_deref()).await {
        Ok(identity) => Ok(identity),
        Err(refusal) => {
            let response = refusal.of_handshake(state);
            let Refusal::Token(error) = refusal else { return Err(response) };
            Err(error)
        }
    };
    let control_frames =
        lists(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL, |entry| entry == SUBPROTOCOL);
    let Query { resume_from, filter, .. } = Query::read(query);
    let options = ClientOptions { control_frames, filter };
    Ok(Handshake { client: candidate.address, identity, resume_from, options })
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let lists =
        |name, wanted: &str| lists(headers, name, |entry| entry.eq_ignore_ascii_case(wanted));
    lists(&header::CONNECTION, "upgrade") && lists(&header::UPGRADE, "websocket")
}

/// Returns the answer to the client's `Sec-WebSocket-Key`.
fn accept_key(headers: &HeaderMap) -> Result<String, Box<Response>> {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let response = response::error(StatusCode::UPGRADE_REQUIRED, "use WebSocket version 13");
        return Err(response::with_header(response, header::SEC_WEBSOCKET_VERSION, "13").into());
    }
    // 16 bytes in base64.
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    match key {
        Some(key) if key.len() == 24 && key.ends_with(b"==") => Ok(derive_accept_key(key)),
        _ => {
            let message = "Sec-WebSocket-Key is not 16 bytes in base64";
            Err(response::error(StatusCode::BAD_REQUEST, message).into())
        }
    }
}

fn switching_protocols(accept: String) -> Response {
    let mut response = Response::new(response::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::try_from(accept).expect("base64 is a valid header value");
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    let response = response::with_header(response, header::UPGRADE, "websocket");
    response::with_header(response, header::CONNECTION, "Upgrade")
}

#[cfg(test)]
pub(super) mod tests;
