//! `GET /events`: the notifications of a user over plain HTTP, for networks that allow no
//! WebSocket. With `Accept: text/event-stream` the response is an event stream, with
//! `application/json` the answer to a long poll.

use std::{net::IpAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{self, HeaderName},
};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use super::{
    accept_header as accept,
    activity::Activity,
    admission::{self, Refusal, unauthenticated},
    connection_limits::ConnectionPermit,
    cors,
    open::{OpenConnection, register},
    query::Query,
    repeated::LAST_EVENT_ID,
    response::{self, Response},
    state::ServerState,
};
use crate::{
    auth::{self, Identity},
    connection::{Answer, ClientOptions, Connection, EventStream, LongPoll, Reconnect},
    hub::{ResumeFrom, client::Client, with_read_state},
    metrics::ClientTransport,
    protocol::{
        CloseReason, Disconnect, Filter, InvalidPosition, PollAnswer, Position, Remedy, Resume,
    },
};

/// How long a poll waits for frames if the client does not say; proxies often end a request after
/// 30 s.
const DEFAULT_WAIT: Duration = Duration::from_secs(25);
/// The maximum of what the client may say.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// Seconds after which a client may try again that a temporary failure has kept from being served.
const RETRY_AFTER: &str = "2";

/// Milliseconds after which a poll may be repeated that neither read the history nor reached a newer
/// position: Redis does not serve this user for now.
const RETRY_UNREADABLE_MS: RangeInclusive<u64> = 2_000..=5_000;

/// Why a client is not served whose subscription is not confirmed, or whose history is not read.
const NO_REPLY: &str = "Redis did not reply in time";

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";

/// What a request asks for.
#[derive(Debug)]
struct EventsRequest {
    transport: ClientTransport,
    resume_from: ResumeFrom,
    filter: Filter,
    /// Of a poll: the read position that the client knows, if it wants read states.
    read_up_to: Option<Result<Position, InvalidPosition>>,
    wait: Duration,
}

/// Returns the response to a request.
pub(super) async fn respond(
    state: &Arc<ServerState>,
    request: &Request<()>,
    peer: IpAddr,
    activity: &Activity,
) -> Response {
    let headers = request.headers();
    let response = match *request.method() {
        Method::GET => {
            open(state, request, peer, activity).await.unwrap_or_else(|refused| *refused)
        }
        _ => cors::respond(state, request, "use GET", "GET, OPTIONS"),
    };
    let response = response::with_header(response, header::CACHE_CONTROL, "no-store, no-transform");
    // nginx would hold back a stream.
    let response = response::with_header(response, X_ACCEL_BUFFERING, "no");
    cors::allow(state, headers, response)
}

/// Opens the connection of a request, the cheapest rules first.
async fn open(
    state: &Arc<ServerState>,
    request: &Request<()>,
    peer: IpAddr,
    activity: &Activity,
) -> Result<Response, Box<Response>> {
    let headers = request.headers();
    let Some(request) = read(request) else {
        let message = format!("accept {EVENT_STREAM} or {JSON}");
        return Err(response::error(StatusCode::NOT_ACCEPTABLE, &message).into());
    };
    let (client, permit, identity) = admit(state, peer, headers).await?;
    let EventsRequest { transport, resume_from, filter, read_up_to, wait } = request;
    // From now on, the connection's own limits hold instead of those of a pending one.
    let active = activity.begin();
    let id = Uuid::new_v4();
    let client = Client { address: client, transport };
    let mut registration = register(state, &identity, id, client).await.map_err(closed)?;
    let mut replay = state.history.replay(&mut registration, resume_from);
    let (settings, shutdown) = (Arc::clone(&state.connection), state.shutdown.clone());
    let open = OpenConnection::new(id, identity.user.clone(), transport, Arc::clone(&settings));
    if transport == ClientTransport::LongPoll {
        if read_up_to.is_some() {
            registration.outbox().accept_read_state();
            replay = with_read_state(replay, registration.read());
        }
        let known = read_up_to.and_then(Result::ok);
        let (poll, answer) = LongPoll::new(wait, known, activity.next_request());
        // The answer itself says what frames about the connection would.
        let options = ClientOptions { control_frames: false, filter };
        let connection = Connection::new(poll, registration, &identity, options, settings);
        open.close(connection.run(replay, shutdown).await);
        return answered(answer.await.map_err(|_| unavailable(NO_REPLY))?, resume_from);
    }
    replay = with_read_state(replay, registration.read());
    let (stream, chunks) = EventStream::new();
    let options = ClientOptions { control_frames: true, filter };
    let connection = Connection::new(stream, registration, &identity, options, settings);
    activity.keep(permit);
    state.tasks.spawn(async move {
        open.close(connection.run(replay, shutdown).await);
        // From now on, the client has a deadline to read the rest.
        drop(active);
    });
    let response = Response::new(response::chunks(chunks));
    let response = response::with_header(response, header::CONTENT_TYPE, EVENT_STREAM);
    Ok(response::with_header(response, header::CONNECTION, "close"))
}

/// Checks limits and token of a request. Returns the address and the user of the client.
async fn admit(
    state: &ServerState,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<(IpAddr, ConnectionPermit, Identity), Box<Response>> {
    let refused = |refusal: Refusal| refusal.of_handshake(state);
    let candidate = admission::check(state, peer, headers).map_err(refused)?;
    let permit = admission::acquire(state, candidate.address)?;
    let identity = admission::authenticate(state, candidate, auth::bearer(headers)).await;
    Ok((candidate.address, permit, identity.map_err(refused)?))
}

/// Returns what a request asks for; none if it accepts no transport.
fn read(request: &Request<()>) -> Option<EventsRequest> {
    let headers = request.headers();
    let [stream, json] = [EVENT_STREAM, JSON].map(|kind| accept::match_of(headers, kind));
    let transport = match stream.max(json)? {
        best if stream == Some(best) => ClientTransport::EventStream,
        _ => ClientTransport::LongPoll,
    };
    let query = request.uri().query().unwrap_or_default();
    let Query { mut resume_from, filter, read_up_to, wait, .. } = Query::read(query);
    // What a browser adds when it reconnects is newer than the URL.
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        resume_from = ResumeFrom::read(last.to_str().unwrap_or("-"));
    }
    let wait = wait.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
    Some(EventsRequest { transport, resume_from, filter, read_up_to, wait })
}

/// Returns the response to a poll that was open.
fn answered(answer: Answer, resume_from: ResumeFrom) -> Result<Response, Box<Response>> {
    let makes_no_progress = makes_no_progress(&answer, resume_from);
    let Answer { frames, next, resume, end } = answer;
    let retry_after_ms = match end {
        Disconnect::ByGateway(reason) if reason.remedy() != Remedy::Reconnect => {
            return Err(closed(reason));
        }
        Disconnect::ByGateway(reason) => {
            let delay = reason.reconnect_after();
            delay.map(|(reason, after)| Reconnect { reason, after }.after_ms())
        }
        Disconnect::Answered | Disconnect::ByClient => {
            makes_no_progress.then(|| rand::random_range(RETRY_UNREADABLE_MS))
        }
    };
    let Some(resume) = resume else { return Err(unavailable(NO_REPLY)) };
    let frames = frames.iter().map(Utf8Bytes::as_str);
    let answer = PollAnswer::new(frames, next, resume, retry_after_ms);
    Ok(response::json(StatusCode::OK, &answer))
}

/// Returns whether the next poll would be answered at once and without frames as well.
fn makes_no_progress(answer: &Answer, resume_from: ResumeFrom) -> bool {
    let ResumeFrom::Position(after) = resume_from else { return false };
    answer.resume == Some(Resume::Incomplete)
        && answer.frames.is_empty()
        && answer.next.is_none_or(|next| next <= after)
}

/// Returns the response to a client whose connection would be closed for this reason.
fn closed(reason: CloseReason) -> Box<Response> {
    if reason.remedy() == Remedy::NewToken {
        return unauthenticated("the token was revoked or has expired");
    }
    let message = "connection limit per user reached";
    response::refusal(StatusCode::TOO_MANY_REQUESTS, reason, message).into()
}

/// Returns the response to a client that Redis keeps from being served.
pub(super) fn unavailable(message: &str) -> Box<Response> {
    let response = response::error(StatusCode::SERVICE_UNAVAILABLE, message);
    response::with_header(response, header::RETRY_AFTER, RETRY_AFTER).into()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn a_poll_whose_history_is_unreadable_and_that_reaches_no_newer_position_is_delayed() {
        let next = Some(Position::START);
        for after in ["0-0", "7-0"] {
            let (frames, end) = (Vec::new(), Disconnect::Answered);
            let answer = Answer { frames, next, resume: Some(Resume::Incomplete), end };
            let response = answered(answer, ResumeFrom::read(after)).unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["resume"], &body["next"]), (&json!("incomplete"), &json!("0-0")));
            let delay = body["retry_after_ms"].as_u64().expect("a delay");
            assert!((2_000..=5_000).contains(&delay), "{delay}");
        }
    }
}
