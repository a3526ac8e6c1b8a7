//! Properties of authentication: only tokens signed with the configured secret are accepted, and
//! the identity is exactly what their claims say.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use hyper::{HeaderMap, header};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;
use shared::{config::Secret, time::Timestamp};
use ws_gateway::auth::{
    self, AuthError, Authenticator, Identity, Key, TokenRules, revocation::Revocations,
};

const SECRET: &str = "a-secret-that-only-the-issuer-has-ever-seen";

/// Checks bytes in every part of a request and of a token. The first line is used as a token, a
/// header value, a query, and the header of a signed token; the rest is used as the claims of that
/// token.
///
/// # Panics
/// If a property is violated.
pub fn check_token(input: &[u8]) {
    let (first, rest) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &input[..0]),
    };
    let text = String::from_utf8_lossy(first);
    check_request(first, &text);
    authenticate(&text).expect_err("a text without a valid signature");
    let token = sign(first, rest);
    if let Ok(identity) = authenticate(&token) {
        check_identity(first, rest, &identity);
    }
    let forged = format!("{}A", &token[..token.len() - 1]);
    if forged != token {
        authenticate(&forged).expect_err("a token with an extended signature");
    }
}

fn check_request(bytes: &[u8], query: &str) {
    let mut headers = HeaderMap::new();
    assert_eq!(auth::token(&headers, "").as_deref(), None);
    drop(auth::token(&headers, query));
    for name in [header::SEC_WEBSOCKET_PROTOCOL, header::AUTHORIZATION] {
        let Ok(value) = header::HeaderValue::from_bytes(bytes) else { return };
        headers.insert(name, value);
        let found = auth::token(&headers, "");
        let part = |token: &str| query.contains(token);
        assert!(found.as_deref().is_none_or(part), "the token is not a part of the request");
    }
}

fn authenticate(token: &str) -> Result<Identity, AuthError> {
    let none = std::time::Duration::ZERO;
    let rules = TokenRules::new(&[Algorithm::HS256], None, None, none);
    let key = Key::from_secret(&Secret::from(SECRET), &rules).expect("the secret is a valid key");
    let authenticator = Authenticator::new(vec![key].into(), Revocations::default());
    let answer = authenticator.authenticate(Some(token)).now_or_never();
    answer.expect("authentication does not wait")
}

/// Signs a token with any header and claims.
fn sign(head: &[u8], claims: &[u8]) -> String {
    let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{head}.{claims}");
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("HMAC signs any message"))
}

fn check_identity(head: &[u8], claims: &[u8], identity: &Identity) {
    // serde_json rejects lone surrogates in fields that the gateway does not read.
    let read = |part| serde_json::from_slice::<Value>(part).ok();
    let (Some(head), Some(claims)) = (read(head), read(claims)) else { return };
    assert!(head["alg"] == "HS256" && head["crit"].is_null(), "{head}");
    assert_eq!(claims["sub"], identity.user.as_str());
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    let now = Timestamp::now().as_second() as f64;
    let at = |claim: &str| claims[claim].as_f64();
    assert!(at("exp").is_some_and(|end| end >= now - 1.0), "{claims}");
    assert!(at("nbf").is_none_or(|begins| begins <= now + 1.0), "{claims}");
    assert!(at("iat").is_none_or(|issued| issued <= now + 1.0), "{claims}");
    let kind = claims["typ"].as_str().unwrap_or_default();
    assert!(!kind.eq_ignore_ascii_case("refresh"), "{claims}");
}
