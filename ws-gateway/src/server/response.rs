//! Responses: with a JSON body, or with a body of chunks that follow one after the other.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Response as HttpResponse, StatusCode,
    body::{Body as HttpBody, Frame},
    header::{HeaderName, HeaderValue},
};
use serde_json::json;
use shared::admin;
use tokio::sync::mpsc;

use crate::protocol::CloseReason;

pub(super) type Response = HttpResponse<Body>;
pub(super) type Body = Either<Full<Bytes>, Chunks>;

/// A body that lasts until its sender is dropped.
#[derive(Debug)]
pub(super) struct Chunks(mpsc::Receiver<Bytes>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// Returns an empty body.
pub(super) fn empty() -> Body {
    Either::Left(Full::default())
}

/// Returns a body of chunks.
pub(super) fn chunks(receiver: mpsc::Receiver<Bytes>) -> Body {
    Either::Right(Chunks(receiver))
}

/// Returns a response with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    admin::json_response(status, body).map(Either::Left)
}

/// Returns an error response; `message` states the rule that the request breaks.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    json(status, &json!({ "error": message }))
}

/// Returns the response to a client that cannot have a connection, with the close code that a
/// WebSocket would get.
pub(super) fn refusal(status: StatusCode, reason: CloseReason, message: &str) -> Response {
    json(status, &json!({ "error": message, "code": reason.code() }))
}

/// Returns the response with one more header.
pub(super) fn with_header(
    mut response: Response,
    name: HeaderName,
    value: &'static str,
) -> Response {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}
