//! `POST /read`: marks notifications as read, for clients that receive events over HTTP, and
//! returns the read state.

use std::{net::IpAddr, time::Duration};

use hyper::{Method, Request, StatusCode, header};
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::timeout};

use super::{
    activity::Activity,
    admission::{self, Refusal},
    cors,
    events::unavailable,
    query::Query,
    response::{self, Response},
    state::ServerState,
};
use crate::{auth, hub::read_requests::ReadRequest, metrics::ReadResult};

/// How long a request waits for Redis.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the response to a request.
pub(super) async fn respond(
    state: &ServerState,
    request: &Request<()>,
    peer: IpAddr,
    activity: &Activity,
) -> Response {
    let headers = request.headers();
    let response = match *request.method() {
        Method::POST => {
            read(state, request, peer, activity).await.unwrap_or_else(|refused| *refused)
        }
        _ => cors::respond(state, request, "use POST", "POST, OPTIONS"),
    };
    let response = response::with_header(response, header::CACHE_CONTROL, "no-store");
    cors::allow(state, headers, response)
}

async fn read(
    state: &ServerState,
    request: &Request<()>,
    peer: IpAddr,
    activity: &Activity,
) -> Result<Response, Box<Response>> {
    let headers = request.headers();
    let count = |result| state.connection.metrics.read_requests.of(result).inc();
    let refused = |refusal: Refusal| {
        count(refusal.into());
        refusal.response(state)
    };
    let candidate = admission::check(state, peer, headers).map_err(refused)?;
    let Ok(up_to) = Query::read(request.uri().query().unwrap_or_default()).up_to.transpose() else {
        count(ReadResult::Malformed);
        let message = "up_to has the form 1754471730123-0";
        return Err(response::error(StatusCode::BAD_REQUEST, message).into());
    };
    let identity = admission::authenticate(state, candidate, auth::bearer(headers)).await;
    let identity = identity.map_err(refused)?;
    // The other endpoints wait for a subscription, which is confirmed only then.
    if !state.connection.authenticator.knows_revocations() {
        count(ReadResult::Unavailable);
        return Err(unavailable("the gateway is starting"));
    }
    // Further requests on this connection have a time limit of their own.
    let _active = activity.begin();
    let (answer, read_state) = oneshot::channel();
    let request = ReadRequest { up_to, answers: vec![answer], is_silent: false };
    state.hub.read_requests().add(&identity.user, request);
    let read_state = timeout(READ_TIMEOUT, read_state).await.ok().and_then(Result::ok);
    let read_state = read_state.and_then(|text| RawValue::from_string(text).ok());
    let result = if read_state.is_some() { ReadResult::Answered } else { ReadResult::Unavailable };
    count(result);
    let read_state = read_state.ok_or_else(|| unavailable("the read state is not available"))?;
    Ok(response::json(StatusCode::OK, &read_state))
}
