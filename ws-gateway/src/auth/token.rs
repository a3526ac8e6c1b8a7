//! Where a request carries its token.

use std::borrow::Cow;

use hyper::{HeaderMap, header};

/// Starts the entry of `Sec-WebSocket-Protocol` that carries a token: a browser cannot set any
/// other header of a handshake.
pub const TOKEN_SUBPROTOCOL_PREFIX: &str = "huleedu.token.";

/// Returns the token of a request, from the first of: `Authorization: Bearer`, an entry of
/// `Sec-WebSocket-Protocol`, the query parameter `token`.
#[must_use]
pub fn token<'a>(headers: &'a HeaderMap, query: &'a str) -> Option<Cow<'a, str>> {
    bearer(headers).or_else(|| subprotocol(headers)).map(Cow::Borrowed).or_else(|| in_query(query))
}

/// Returns the token of `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn subprotocol(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|entry| entry.trim().strip_prefix(TOKEN_SUBPROTOCOL_PREFIX))
}

fn in_query(query: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token").map(|(_, t)| t)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[(header::HeaderName, &str)]) -> HeaderMap {
        values.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_bearer_token_takes_precedence_over_the_subprotocol_and_that_over_the_query() {
        let bearer = (header::AUTHORIZATION, "bearer  a.b.c");
        let offered = (header::SEC_WEBSOCKET_PROTOCOL, "huleedu.v1, huleedu.token.d.e.f");
        let both = headers(&[bearer, offered.clone()]);
        assert_eq!(token(&both, "token=g").as_deref(), Some("a.b.c"));
        assert_eq!(token(&headers(&[offered]), "token=g").as_deref(), Some("d.e.f"));
        let none = headers(&[]);
        assert_eq!(token(&none, "x=1&token=g%2Eh.i").as_deref(), Some("g.h.i"));
        assert_eq!(token(&none, ""), None);
    }

    #[test]
    fn other_authorization_schemes_carry_no_token() {
        let basic = headers(&[(header::AUTHORIZATION, "Basic dTpw")]);
        assert_eq!(token(&basic, ""), None);
    }
}
