//! Requests that name more than one token, origin or position: a proxy may pick another one than
//! the gateway would, so none is answered.

use hyper::{
    HeaderMap, Request,
    header::{self, HeaderName},
};

use super::admission::entries;
use crate::auth::TOKEN_SUBPROTOCOL_PREFIX;

pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Returns the rule that a request breaks by a repeated header, subprotocol or parameter.
pub(super) fn broken_rule(request: &Request<()>) -> Option<&'static str> {
    let headers = request.headers();
    let query = request.uri().query().unwrap_or_default();
    let has_several = |names: &[&str]| {
        let parameters = form_urlencoded::parse(query.as_bytes());
        parameters.filter(|(name, _)| names.contains(&&**name)).nth(1).is_some()
    };
    if is_repeated(headers, &header::AUTHORIZATION) {
        Some("a request has at most one Authorization header")
    } else if is_repeated(headers, &header::ORIGIN) {
        Some("a request has at most one Origin header")
    } else if is_repeated(headers, &LAST_EVENT_ID) {
        Some("a request has at most one Last-Event-ID header")
    } else if token_subprotocols(headers) > 1 {
        Some("Sec-WebSocket-Protocol has at most one token")
    } else if has_several(&["token"]) {
        Some("the query has at most one token")
    } else if has_several(&["last_event_id", "after"])
        || has_several(&["up_to"])
        || has_several(&["read_up_to"])
    {
        Some("the query has at most one position")
    } else {
        None
    }
}

fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

fn token_subprotocols(headers: &HeaderMap) -> usize {
    let entries = entries(headers, &header::SEC_WEBSOCKET_PROTOCOL);
    entries.filter(|entry| entry.starts_with(TOKEN_SUBPROTOCOL_PREFIX)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        broken_rule(&request.body(()).unwrap()).is_some()
    }

    #[test]
    fn two_tokens_origins_or_positions_break_a_rule() {
        for query in [
            "token=a&token=a",
            "after=7-0&last_event_id=7-0",
            "up_to=7-0&up_to=8-0",
            "read_up_to=7-0&read_up_to=8-0",
        ] {
            assert!(is_refused(&format!("/events?{query}"), &[]), "{query}");
        }
        for (name, first, second) in [
            ("authorization", "Bearer a.b.c", "Basic dTpw"),
            ("origin", "https://allowed", "https://other"),
            ("last-event-id", "7-0", ""),
            ("sec-websocket-protocol", "huleedu.v1, huleedu.token.a", "huleedu.token.a"),
            ("sec-websocket-protocol", "huleedu.token.a, huleedu.token.b", "huleedu.v1"),
        ] {
            assert!(is_refused("/ws", &[(name, first), (name, second)]), "{name}");
        }
    }

    #[test]
    fn a_token_and_a_position_in_places_of_different_precedence_break_none() {
        let headers = [
            ("authorization", "Bearer a.b.c"),
            ("sec-websocket-protocol", "huleedu.v1, huleedu.token.a"),
            ("last-event-id", "7-0"),
        ];
        assert!(!is_refused("/ws?token=a&after=6-0&up_to=5-0&categories=a&categories=b", &headers));
    }
}
