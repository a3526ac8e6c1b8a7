//! Responses with a JSON body.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response as HttpResponse, StatusCode,
    header::{HeaderName, HeaderValue},
};
use serde_json::json;
use shared::admin;

pub(super) type Response = HttpResponse<Full<Bytes>>;

/// Returns an error response; `message` states the rule that the request breaks.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    admin::json_response(status, &json!({ "error": message }))
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
